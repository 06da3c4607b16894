import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { proxyContract } from '@scistream/core/testing';
import plugin from '../src/index.js';
import { ForwardContainer } from '../src/forward-container.js';
import { forwardOptions } from '../src/options.js';

const { scistream } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const validate = (value) => forwardOptions['~standard'].validate(value);

// All that SciStream expects of a proxy, with real processes and sockets. Early connections are refused, not held.
proxyContract({
  name: 'forward',
  test,
  holds: false,
  create: (context) => new ForwardContainer(context, { backlog: 511 }),
});

test('the code provides what the manifest promises', () => {
  const promised = scistream.provides.map(({ kind, id }) => ({ kind, id }));
  assert.deepEqual(
    plugin.providers.map(({ kind, id }) => ({ kind, id })),
    promised,
  );
});

test('the example of the manifest is accepted', () => {
  assert.deepEqual(validate(scistream.provides[0].example), { value: { backlog: 128 } });
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
