// needs: root, ip, netns, haproxy, tcpdump
/**
 * The two facilities of examples/two-hosts, each in its own network namespaces, with rules, tokens, and certificates of
 * `scistream cert init`: which connections get through, and what can be read on the network.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeHeader } from '@scistream/example-producer-consumer';
import { capture } from '../support/capture.js';
import { toAddress } from '../support/server.js';
import { ADDRESSES, TwoSites } from '../support/two-sites.js';

const s = suite('two facilities');

const sites = await TwoSites.open();
s.after(() => sites[Symbol.asyncDispose]());

const FRAMES = 64;
const FRAME_BYTES = 65_536;
const PRODUCER = [5001, 5002].map((port) => `${ADDRESSES.producer}:${port}`);

/** How each frame on the first connection begins, up to the time it was sent. This part is known in advance. */
const KNOWN = Array.from({ length: FRAMES / PRODUCER.length }, (_, sequence) =>
  encodeHeader({ last: false, connection: 0, sequence, sentNs: 0n, payloadBytes: 0, payloadCrc: 0, seed: 1 }).subarray(
    0,
    16,
  ),
);

const LAN = ADDRESSES.alcf.lan;

interface Up {
  readonly uid: string;
  readonly connect: readonly string[];
  readonly encryption: string;
}

/** Sends frames through a stream, and records everything between the gateways. */
async function carry(user: string, ...flags: readonly string[]) {
  await using producer = await sites.producer(PRODUCER, '--frame-size', `${FRAME_BYTES}`, '--count', `${FRAMES}`);
  const { uid, connect, encryption } = (await sites.as(user, 'stream', 'up', 'tomo', ...flags)) as Up;
  const stranger = await sites.consumer('stranger', connect);
  await using wire = await capture(sites.namespaces.prefix('wan'), 'aps');
  const consumer = await sites.consumer('consumer', connect);
  const seen = await wire.stop(FRAMES * FRAME_BYTES);
  const { to } = (await sites.as(user, 'stream', 'status', uid)) as { to: { connections: number; refused: number } };
  await sites.as(user, 'stream', 'down', uid);
  return { connect, encryption, stranger, consumer, seen, to, served: await producer.stop() };
}

for (const proxy of ['relay', 'haproxy']) {
  s(
    `${proxy}: consumers in the allowed network get everything, others nothing, and the network shows no plaintext`,
    async () => {
      const { connect, encryption, stranger, consumer, seen, to, served } = await carry('alice', '--proxy', proxy);
      assert.equal([connect.map((entry) => toAddress(entry).host), encryption], [[LAN, LAN], 'tls']);
      const { bytes, frames, sha256Match } = consumer.received;
      assert.equal([consumer.exitCode, bytes, frames, sha256Match], [0, FRAMES * FRAME_BYTES, FRAMES, true]);
      assert.equal([stranger.exitCode, stranger.received.bytes], [1, 0]);
      assert.equal([to.connections, to.refused], [2, 2]);
      assert.equal([served.served, served.lost], [2, 0], 'the stranger never reaches the producer');
      assert.equal(KNOWN.filter((known) => seen.includes(known)).length, 0, 'plaintext was seen between the gateways');
    },
  );
}

s('a stream without encryption proves that the capture shows plaintext', async () => {
  const { encryption, consumer, stranger, seen } = await carry('bob', '--encryption', 'none');
  assert.equal([encryption, consumer.exitCode, consumer.received.sha256Match], ['none', 0, true]);
  assert.equal([stranger.exitCode, stranger.received.bytes], [1, 0]);
  assert.ok(KNOWN.some((known) => seen.includes(known)));
  const refusal = await sites.refused('alice', 'stream', 'up', 'tomo', '--encryption', 'none');
  assert.equal(refusal, { exitCode: 6, code: 'SCI_ENCRYPTION_REQUIRED' });
});

const FORBIDDEN = { exitCode: 6, code: 'SCI_FORBIDDEN' };

for (const [target, why] of [
  ['10.0.2.9:5001', 'an address of another network'],
  ['10.0.1.5:22', 'another port'],
  ['archive.example:5001', 'a name that is not on the list, for an address that is'],
  ['mirror.beamline.example:5001', 'a name on the list, for an address that is not'],
] as const) {
  s(`${why} is not a target`, async () => {
    const answer = await sites.refused('alice', 'stream', 'up', '--from', 'aps', '--to', 'alcf', '--producer', target);
    assert.equal(answer, FORBIDDEN);
  });
}

s('an allowed name for an allowed address is a target', async () => {
  await using producer = await sites.producer(PRODUCER, '--count', '2', '--frame-size', '1kB');
  const there = ['--from', 'aps', '--to', 'alcf', '--producer', 'detector.beamline.example:5001'];
  const { uid, connect } = (await sites.as('alice', 'stream', 'up', ...there)) as Up;
  const { exitCode, received } = await sites.consumer('consumer', connect);
  assert.equal([exitCode, received.sha256Match], [0, true]);
  await sites.as('alice', 'stream', 'down', uid);
  assert.equal((await producer.stop()).served, 1);
});

s('the audit logs of both facilities have every decision', async () => {
  const before = { aps: await sites.decisions('aps'), alcf: await sites.decisions('alcf') };
  const { uid } = (await sites.as('alice', 'stream', 'up', 'tomo')) as Up;
  assert.equal(await sites.refused('bob', 'stream', 'down', uid), { exitCode: 4, code: 'SCI_STREAM_NOT_FOUND' });
  await sites.as('alice', 'stream', 'down', uid);
  const elsewhere = ['--from', 'aps', '--to', 'alcf', '--producer', '10.0.2.9:5001'];
  assert.equal(await sites.refused('alice', 'stream', 'up', ...elsewhere), FORBIDDEN);
  assert.equal(await sites.refused('mallory', 'stream', 'up', 'tomo'), { exitCode: 6, code: 'SCI_UNAUTHENTICATED' });
  const since = async (facility: 'aps' | 'alcf') =>
    [...new Set((await sites.decisions(facility)).slice(before[facility].length))].sort();
  const both = [
    'authenticate refused SCI_UNAUTHENTICATED',
    ...['hello', 'release', 'request', 'update', 'view'].map((action) => `token:alice ${action} allowed alice-streams`),
    'token:bob view refused SCI_STREAM_NOT_FOUND',
  ];
  assert.equal(await since('aps'), [...both, 'token:alice update refused alice-streams SCI_FORBIDDEN'].sort());
  assert.equal(await since('alcf'), [...both, 'token:alice probe allowed alice-streams'].sort());
});

s.run();
