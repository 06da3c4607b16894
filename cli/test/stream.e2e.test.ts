import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamList, StreamStatus, VerifyResult } from '@scistream/core/client';
import { poll } from '@scistream/core';
import { eventually } from '@scistream/core/testing';
import {
  greeting,
  json,
  leavesNothing,
  Producer,
  scistream,
  start,
  startFacilities,
  type Facilities,
} from './support/facilities.js';

interface Up extends StreamStatus {
  readonly setupMs: number;
  readonly ticket?: string;
}

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly suggestions: readonly string[] };
}

interface Context {
  facilities: Facilities;
  producer: Producer;
}

const s = suite<Context>('stream commands, end to end');
/** Adds a test that must release every stream it makes. */
const test = (name: string, run: (context: Context) => Promise<void>): void => s(name, leavesNothing(run));

s.before(async (context) => {
  context.facilities = await startFacilities();
});
s.after(async ({ facilities }) => facilities.stop());
s.before.each(async (context) => {
  context.producer = await Producer.start(context.facilities.host, 'first');
});
s.after.each(({ producer }) => producer.stop());

const list = (facilities: Facilities): Promise<StreamList> => json(facilities, 0, 'stream', 'ls');
const up = (facilities: Facilities, producer: Producer, ...more: string[]): Promise<Up> =>
  json(facilities, 0, 'stream', 'up', 'tomo', '--producer', producer.address, ...more);

test('up creates a stream that carries data, and its result has the documented shape', async ({
  facilities,
  producer,
}) => {
  const stream = await up(facilities, producer, '--rate', '20Gbps', '--lifetime', '1h');
  const keys = 'connect,createdAt,encryption,expiresAt,from,name,rate,setupMs,state,to,uid,verified';
  assert.is(Object.keys(stream).sort().join(), keys);
  const sideKeys = 'facility,gateway,listeners,proxy,runtime,targets';
  assert.is(
    Object.keys(stream.from ?? {})
      .sort()
      .join(),
    sideKeys,
  );
  assert.is(
    Object.keys(stream.to ?? {})
      .sort()
      .join(),
    sideKeys,
  );
  assert.is(stream.name, 'tomo');
  assert.is(stream.state, 'ready');
  assert.is(stream.encryption, 'tls');
  assert.is(stream.rate.bitsPerSecond, 20e9);
  assert.is(Date.parse(stream.expiresAt) - Date.parse(stream.createdAt), 3_600_000);
  assert.equal(stream.connect, stream.to?.listeners);
  assert.equal(stream.to?.targets, stream.from?.listeners);
  assert.equal(stream.from?.targets, [producer.address, producer.address]);
  assert.is(producer.connections, 0, 'creating a stream does not contact the producer');

  for (const address of stream.connect) {
    const { text, socket } = await greeting(address);
    assert.is(text, 'first');
    socket.destroy();
  }
  await json(facilities, 0, 'stream', 'down', stream.uid);
});

test('ls, status, verify, update and down work by name, uid and prefix', async ({ facilities, producer }) => {
  const { uid, connect } = await up(facilities, producer);
  const all = await list(facilities);
  assert.equal(
    all.streams.map((stream) => [stream.uid, stream.name, stream.from?.facility, stream.to?.facility]),
    [[uid, 'tomo', 'aps', 'alcf']],
  );
  for (const ref of ['tomo', uid, uid.slice(0, 6)]) {
    assert.is((await json<StreamStatus>(facilities, 0, 'stream', 'status', ref)).uid, uid);
  }
  assert.is(
    (await json<Failure>(facilities, 4, 'stream', 'status', uid.slice(0, 5))).error.code,
    'SCI_STREAM_NOT_FOUND',
  );

  const second = await Producer.start(facilities.host, 'second');
  const held = await greeting(connect[0] ?? '');
  const updated = await json<StreamStatus>(facilities, 0, 'stream', 'update', 'tomo', '--producer', second.address);
  assert.equal(updated.from?.targets, [second.address, second.address]);
  assert.is(updated.state, 'streaming');
  const fresh = await greeting(connect[0] ?? '');
  assert.is(fresh.text, 'second');
  held.socket.write('still here');
  const [echo] = await new Promise<Buffer[]>((resolve) => held.socket.once('data', (data: Buffer) => resolve([data])));
  assert.is(String(echo), 'still here', 'the established connection stays open');
  held.socket.destroy();
  fresh.socket.destroy();
  await second.stop();

  const { released } = await json<{ released: { uid: string; connections: number; bytesToConsumer: number }[] }>(
    facilities,
    0,
    'stream',
    'down',
    'tomo',
  );
  assert.is(released[0]?.uid, uid);
  assert.is(released[0]?.connections, 2);
  assert.is(released[0]?.bytesToConsumer, 'firstsecondstill here'.length);
  assert.is((await json<Failure>(facilities, 4, 'stream', 'down', 'tomo')).error.code, 'SCI_STREAM_NOT_FOUND');
});

test('verify contacts the producer only with --full', async ({ facilities, producer }) => {
  await up(facilities, producer);
  const plain = await json<VerifyResult>(facilities, 0, 'stream', 'verify', 'tomo');
  assert.is(plain.ok, true);
  assert.equal(
    plain.hops.map(({ checked }) => checked),
    [true, true, true, false],
  );
  assert.ok((plain.roundTripMs ?? 0) > 0);
  assert.is(producer.connections, 0);

  const full = await json<VerifyResult>(facilities, 0, 'stream', 'verify', 'tomo', '--full');
  assert.equal(
    full.hops.map(({ checked, ok }) => checked && ok),
    [true, true, true, true, true],
  );
  // One connection to the target of both listeners, and one through the whole stream. `verify` ends when the inbound gateway has
  // accepted the second one, which arrives at the producer some time after that.
  await eventually(async () => assert.is(producer.connections, 2));

  await producer.stop();
  const { error } = await json<Failure>(facilities, 4, 'stream', 'verify', 'tomo', '--full');
  assert.is(error.code, 'SCI_VERIFY_FAILED');
  assert.match(error.message, 'inbound gateway to producer');
  assert.match(error.message, 'ECONNREFUSED');
  assert.is((await json<VerifyResult>(facilities, 0, 'stream', 'verify', 'tomo')).ok, true, 'the gateways work');
  await json(facilities, 0, 'stream', 'down', 'tomo');
});

test('a producer that accepts one connection keeps it for its consumer', async ({ facilities, producer }) => {
  const { connect } = await up(facilities, producer, '--connections', '1');
  await json(facilities, 0, 'stream', 'verify', 'tomo');
  const { text, socket } = await greeting(connect[0] ?? '');
  assert.is(text, 'first');
  assert.is(producer.connections, 1);
  socket.destroy();
  await json(facilities, 0, 'stream', 'down', 'tomo');
});

test('two sides created one after the other with a ticket form one stream', async ({ facilities, producer }) => {
  const inbound = await json<Up>(
    facilities,
    0,
    'stream',
    'up',
    '--inbound',
    '--from',
    'aps',
    '--producer',
    producer.address,
    '--name',
    'tick',
  );
  assert.match(inbound.ticket ?? '', /^scistream2\./);
  assert.is(inbound.to, undefined);
  assert.equal(inbound.connect, []);
  const outbound = await json<Up>(facilities, 0, 'stream', 'up', '--outbound', inbound.ticket ?? '', '--to', 'alcf');
  assert.is(outbound.uid, inbound.uid);
  assert.is(outbound.name, 'tick');
  assert.equal(outbound.to?.targets, inbound.from?.listeners);
  const { text, socket } = await greeting(outbound.connect[0] ?? '');
  assert.is(text, 'first');
  socket.destroy();

  const again = await json<Failure>(facilities, 4, 'stream', 'up', '--outbound', inbound.ticket ?? '', '--to', 'alcf');
  assert.is(again.error.code, 'SCI_STREAM_EXISTS', 'a second use of the ticket does not affect the first');
  assert.is((await json<StreamStatus>(facilities, 0, 'stream', 'status', 'tick')).to?.facility, 'alcf');
  const cut = await json<Failure>(
    facilities,
    2,
    'stream',
    'up',
    '--outbound',
    inbound.ticket?.slice(0, -1) ?? '',
    '--to',
    'alcf',
  );
  assert.is(cut.error.code, 'SCI_TICKET_INVALID');
  await json(facilities, 0, 'stream', 'down', 'tick');
});

test('when one side fails, the other side is released', async ({ facilities, producer }) => {
  const held = await json<Up>(
    facilities,
    0,
    'stream',
    'up',
    '--inbound',
    '--from',
    'alcf',
    '--producer',
    producer.address,
    '--connections',
    '9',
  );
  const full = await json<Failure>(facilities, 4, 'stream', 'up', 'tomo', '--producer', producer.address);
  assert.is(full.error.code, 'SCI_PORTS_EXHAUSTED');
  assert.match(full.error.message, 'Outbound side alcf');
  const gone = [
    ...trusting(facilities.aps),
    '--to',
    `${facilities.host}:5000`,
    '--insecure',
    '--producer',
    producer.address,
  ];
  const unreachable = await json<Failure>(facilities, 7, 'stream', 'up', ...gone);
  assert.is(unreachable.error.code, 'SCI_S2CS_UNREACHABLE');
  assert.match(unreachable.error.message, `${facilities.host}:5000`);
  assert.equal(
    (await list(facilities)).streams.map(({ uid }) => uid),
    [held.uid],
  );
  await json(facilities, 0, 'stream', 'down', held.uid);
  // All ports are free again.
  const { uid } = await up(facilities, producer, '--connections', '10');
  await json(facilities, 0, 'stream', 'down', uid);
});

const trusting = ({ address, fingerprint }: Facilities['aps']): string[] => ['--from', `${address}#${fingerprint}`];

test('an unexpected certificate is rejected, and the error shows its fingerprint', async ({ facilities, producer }) => {
  const { aps, alcf } = facilities;
  const common = ['stream', 'up', '--to', alcf.address, '--producer', producer.address];
  for (const from of [aps.address, `${aps.address}#${alcf.fingerprint}`]) {
    const { error } = await json<Failure>(facilities, 7, ...common, '--from', from, '--fingerprint', alcf.fingerprint);
    assert.is(error.code, 'SCI_TLS_UNTRUSTED');
    assert.match(error.suggestions.join(), aps.fingerprint);
    assert.match(error.message, /intercepted/);
    assert.not.match(error.message, aps.fingerprint);
  }
  const system = await json<Failure>(facilities, 7, ...common, ...trusting(aps));
  assert.is(system.error.code, 'SCI_TLS_UNTRUSTED', 'a self-signed certificate is not trusted by default');
});

test('Ctrl-C during the wait for HELLO releases both sides', async ({ facilities, producer }) => {
  const uid = 'interrupted-0001';
  const args = ['stream', 'up', 'tomo', '--producer', producer.address, '--await-hello', '--uid', uid, '--json'];
  const running = start(facilities, 'run', [...args, '--config', facilities.config]);
  await poll(
    async () => (await list(facilities)).streams.some(({ state }) => state === 'waiting') || undefined,
    { timeoutMs: 10_000 },
    () => new Error('the stream never waited for HELLO'),
  );
  running.interrupt();
  const { code, stdout } = await running.outcome;
  assert.is(code, 130);
  assert.is((JSON.parse(stdout) as Failure).error.code, 'SCI_CLIENT_GONE');
});

test('stream document files, ambiguous names, and wrong arguments', async ({ facilities, producer }) => {
  const file = join(facilities.dir, 'doc.yaml');
  await writeFile(file, `{ from: aps, to: alcf, name: twin, producer: ["${producer.address}"] }`);
  const one = await json<Up>(facilities, 0, 'stream', 'up', file);
  const second = await scistream(facilities, 'stream', 'up', file, '--json');
  assert.match(second.stderr, one.uid, 'a warning names the first one');
  const two = JSON.parse(second.stdout) as Up;
  const { error } = await json<Failure>(facilities, 4, 'stream', 'down', 'twin');
  assert.is(error.code, 'SCI_STREAM_AMBIGUOUS');
  assert.match(error.message, one.uid);
  await json(facilities, 0, 'stream', 'down', one.uid, two.uid);

  const wrong: [number, string, string[]][] = [
    [2, 'SCI_USAGE', ['up', 'unknown-document']],
    [2, 'SCI_USAGE', ['up', '--from', 'aps', '--producer', producer.address]],
    [2, 'SCI_USAGE', ['up', '--from', 'aps', '--to', 'aps', '--producer', producer.address]],
    [2, 'SCI_FACILITY_UNKNOWN', ['up', '--from', 'nowhere', '--to', 'aps', '--producer', producer.address]],
    [2, 'SCI_TARGETS_INVALID', ['up', 'tomo']],
    [2, 'SCI_ADDRESS_INVALID', ['up', 'tomo', '--producer', '10.0.0.1']],
    [5, 'SCI_PROXY_UNSUPPORTED', ['up', 'tomo', '--producer', producer.address, '--transport', 'udp']],
    [5, 'SCI_PROXY_UNKNOWN', ['up', 'tomo', '--producer', producer.address, '--proxy', 'nonesuch']],
  ];
  for (const [code, name, args] of wrong) {
    assert.is((await json<Failure>(facilities, code, 'stream', ...args)).error.code, name, args.join(' '));
  }
});

test('watch prints every change as a line until the stream ends or Ctrl-C', async ({ facilities, producer }) => {
  const { uid } = await up(facilities, producer);
  const watch = () => start(facilities, 'run', ['stream', 'watch', uid, '--json', '--config', facilities.config]);
  const [watching, interrupted] = [watch(), watch()];
  await Promise.all([watching, interrupted].map(({ lines }) => new Promise((resolve) => lines.once('line', resolve))));
  interrupted.interrupt();
  const { code: cut, stdout: printed, stderr } = await interrupted.outcome;
  assert.equal([cut, stderr, printed.includes('SCI_')], [130, '', false]);
  await json(facilities, 0, 'stream', 'down', uid);
  const { code, stdout } = await watching.outcome;
  assert.is(code, 0);
  const states = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as StreamStatus).state);
  assert.is(states[0], 'ready');
  assert.is(states.at(-1), 'released');
});

test('text output goes to stdout, and stderr stays empty without a terminal', async ({ facilities, producer }) => {
  const made = await scistream(facilities, 'stream', 'up', 'tomo', '--producer', producer.address);
  assert.is(made.code, 0);
  assert.is(made.stderr, '');
  assert.match(made.stdout, /^tomo \([0-9a-f]{6}…\) is ready after .* Consumers connect to:\n {2}127\./);
  assert.not.match(made.stdout, 'not encrypted');
  assert.match(
    (await scistream(facilities, 'stream', 'ls')).stdout,
    /tomo +[0-9a-f-]+ +ready +none:anonymous +aps\/aps-gw → alcf\/alcf-gw /,
  );
  const shown = await scistream(facilities, 'stream', 'status', 'tomo');
  assert.match(shown.stdout, 'no consumer has connected yet');
  assert.match(shown.stdout, 'encryption  TLS 1.3');
  assert.match((await scistream(facilities, 'stream', 'verify', 'tomo')).stdout, 'not checked');
  assert.match((await scistream(facilities, 'stream', 'down', 'tomo')).stdout, /^Released tomo /);
  const failed = await scistream(facilities, 'stream', 'down', 'tomo');
  assert.is(failed.stdout, '');
  assert.match(failed.stderr, /\[SCI_STREAM_NOT_FOUND\]\nTry: /);
});

s.run();
