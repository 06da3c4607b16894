import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pluginContract, proxyContract } from '@scistream/core/testing';
import plugin from '../src/index.js';
import { ForwardContainer } from '../src/forward-container.js';
import { forwardOptions } from '../src/options.js';

const validate = (value) => forwardOptions['~standard'].validate(value);

// All that SciStream expects of a proxy, with real processes and sockets. Early connections are refused, not held.
proxyContract({
  name: 'forward',
  test,
  holds: false,
  create: (context) => new ForwardContainer(context, { backlog: 511 }),
});

// What it expects of any plugin: that package.json and code agree, and that the options are checked.
pluginContract({ name: 'forward', test, plugin, packageJson: new URL('../package.json', import.meta.url) });

test('options are given as they are', () => {
  assert.deepEqual(validate({ backlog: 128 }), { value: { backlog: 128 } });
});

test('wrong and unknown options are refused by name', () => {
  assert.deepEqual(
    validate({ backlog: 0 }).issues.map(({ path }) => path),
    [['backlog']],
  );
  assert.deepEqual(
    validate({ backlogs: 1 }).issues.map(({ path }) => path),
    [['backlogs']],
  );
});
