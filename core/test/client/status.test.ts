/** The status that the client makes of the answers of control servers. */
import { create } from '@bufbuild/protobuf';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mergeStatus } from '@scistream/core/internal';
import { targetTexts } from '@scistream/core/client';
import { v1 } from '@scistream/core/wire';

const s = suite('status');

const statusOf = (message: Parameters<typeof create<typeof v1.StreamSchema>>[1]) => {
  const endpoint = { facility: 'aps', address: { host: '127.0.0.1', port: 5000 }, trust: { kind: 'plain' } } as const;
  return mergeStatus('uid-0001', { endpoint, stream: create(v1.StreamSchema, message) }, undefined);
};

s('a state of a newer server is unknown, and not ready', () => {
  const { state, from, diagnosis } = statusOf({ state: 'hibernating' });
  assert.equal([state, from?.state], ['unknown', 'unknown']);
  assert.match(diagnosis, 'does not know');
});

s('bounds further addresses and the reason of a TLS failure', () => {
  const hosts = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}`);
  const { from } = statusOf({
    state: 'ready',
    targets: ['10.1.0.1:5', '10.1.0.2:6'],
    fallbacks: [{ hosts: ['10.0.0.9', '10.0.0.8'] }, { hosts }],
    tlsFailure: { at: '2026-11-30T12:00:00.000Z', reason: `bad${'x'.repeat(500)}` },
  });
  assert.is(from?.fallbacks?.[1]?.length, 8);
  assert.is(from?.tlsFailure?.reason.length, 200);
  assert.is(from && targetTexts(from)[0], '10.1.0.1:5 (or 10.0.0.9, 10.0.0.8)');
});

s('is silent about further addresses and TLS failures that do not exist', () => {
  const { from } = statusOf({ state: 'ready', targets: ['10.1.0.1:5'] });
  assert.equal([from?.fallbacks, from?.tlsFailure], [undefined, undefined]);
});

s('a release that fails says why', () => {
  const error = { code: 'SCI_PROXY_UNKNOWN', message: 'It keeps its ports.' };
  assert.match(statusOf({ state: 'releasing', error }).diagnosis, /being released: It keeps its ports\./);
  assert.not.match(statusOf({ state: 'releasing' }).diagnosis, 'undefined');
});

s.run();
