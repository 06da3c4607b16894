import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pluginContract, proxyContract } from '@scistream/core/testing';
import plugin from '../src/index.js';
import { ForwardContainer } from '../src/forward-container.js';
import { forwardOptions } from '../src/options.js';

const validate = (value) => forwardOptions['~standard'].validate(value);

// The contract of a proxy, with real processes and sockets. Early connections are closed, not held.
proxyContract({
  name: 'forward',
  test,
  holds: false,
  create: (context) => new ForwardContainer(context, { backlog: 511 }),
});

// The contract of a plugin: package.json matches the code, and options are validated.
pluginContract({ name: 'forward', test, plugin, packageJson: new URL('../package.json', import.meta.url) });

test('valid options are accepted', () => {
  assert.deepEqual(validate({ backlog: 128 }), { value: { backlog: 128 } });
});

test('invalid and unknown options are rejected by name', () => {
  assert.deepEqual(
    validate({ backlog: 0 }).issues.map(({ path }) => path),
    [['backlog']],
  );
  assert.deepEqual(
    validate({ backlogs: 1 }).issues.map(({ path }) => path),
    [['backlogs']],
  );
});
