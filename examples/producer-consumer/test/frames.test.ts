import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  encodeClosing,
  encodeHeader,
  FrameError,
  parseClosing,
  parseHeader,
  runConsumer,
  runProducer,
  type ProducerOptions,
  type ProducerSummary,
  type Summary,
} from '@scistream/example-producer-consumer';
import { startMiddleMan, type Change } from './middle-man.js';

const LOOPBACK = '127.0.0.1';
const s = suite('example producer and consumer');

interface Running {
  readonly ports: number[];
  stop(): Promise<ProducerSummary>;
}

async function startProducer(options: Partial<ProducerOptions>, listeners = 1): Promise<Running> {
  const stop = new AbortController();
  const listen = Array.from({ length: listeners }, () => ({ host: LOOPBACK, port: 0 }));
  let finished: Promise<ProducerSummary> | undefined;
  const ports = await new Promise<number[]>((resolve, reject) => {
    const onListening = (addresses: string[]): void => resolve(addresses.map((a) => Number(a.split(':').at(-1))));
    finished = runProducer({ listen, graceMs: 1000, ...options, onListening }, stop.signal);
    finished.catch(reject);
  });
  const stopProducer = async (): Promise<ProducerSummary> => {
    stop.abort();
    if (finished === undefined) throw new Error('The producer never started');
    return finished;
  };
  return { ports, stop: stopProducer };
}

function consume(ports: readonly number[], count: number): Promise<Summary> {
  return runConsumer({ connect: ports.map((port) => ({ host: LOOPBACK, port })), count, timeoutMs: 5000 });
}

/** Twenty frames of 1000 bytes through a proxy that changes them. */
async function consumeChanged(change: Change, pieces?: readonly number[]): Promise<Summary> {
  const producer = await startProducer({ frameBytes: 1000, count: 20, firstSequence: 7 });
  const middleMan = await startMiddleMan(producer.ports[0] ?? 0, change, pieces);
  try {
    return await consume([middleMan.port], 20);
  } finally {
    middleMan.close();
    await producer.stop();
  }
}

function flipByte(frame: Buffer, at: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt8(copy.readUInt8(at) ^ 0x10, at);
  return copy;
}

/** Runs one of the two programs to its end. */
async function run(program: 'producer' | 'consumer', args: readonly string[]) {
  const file = fileURLToPath(new URL(`${program}.js`, import.meta.resolve('@scistream/example-producer-consumer')));
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const status = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await status, stdout, stderr };
}

s('decodes the header and the closing frame that it encoded', () => {
  const header = {
    last: true,
    connection: 65535,
    sequence: 2 ** 52 + 1,
    sentNs: 1_700_000_000_123_456_789n,
    payloadBytes: 2 ** 30,
    payloadCrc: 0xfffffffe,
    seed: 0xffffffff,
  };
  assert.equal(parseHeader(encodeHeader(header)), header);
  const closing = { firstSequence: 2 ** 40, frames: 3, sha256: Buffer.alloc(32, 9) };
  assert.equal(parseClosing(encodeClosing(closing)), closing);
  assert.is(parseClosing(encodeClosing({ ...closing, sha256: undefined })).sha256, undefined);
});

s('rejects a header with any changed byte', () => {
  const header = encodeHeader({
    last: false,
    connection: 0,
    sequence: 1,
    sentNs: 2n,
    payloadBytes: 3,
    payloadCrc: 4,
    seed: 5,
  });
  for (let at = 0; at < header.length; at++) {
    assert.throws(
      () => parseHeader(flipByte(header, at)),
      (error: unknown) => error instanceof FrameError,
    );
  }
});

for (const [frameBytes, count] of [
  [1, 500],
  [1024, 2000],
  [2 ** 20 + 1, 20],
] as const) {
  s(`transfers every frame of ${frameBytes} bytes over three connections`, async () => {
    const producer = await startProducer({ frameBytes, count, seed: 0, once: true }, 3);
    const summary = await consume(producer.ports, count);
    assert.equal(summary.faults, []);
    assert.is(summary.sha256Match, true);
    assert.is(summary.frames, count);
    assert.is(summary.bytes, count * frameBytes);
    assert.equal(
      summary.perConnection.map((part) => part.connection),
      [0, 1, 2],
    );
    const sent = await producer.stop();
    assert.is(sent.served, 3);
    assert.is(sent.bytes, summary.bytes);
  });
}

s('accepts any split of the bytes into reads', async () => {
  const summary = await consumeChanged((frames) => frames, [1, 39, 1, 40, 41, 7, 999, 3]);
  assert.equal(summary.faults, []);
  assert.is(summary.frames, 20);
});

s('counts a frame with one changed payload byte as corrupt', async () => {
  const summary = await consumeChanged((frames) => frames.map((frame, i) => (i === 5 ? flipByte(frame, 700) : frame)));
  assert.is(summary.corrupt, 1);
  assert.is(summary.lost, 0);
  assert.is(summary.sha256Match, false);
});

s('stops reading at a damaged header', async () => {
  const summary = await consumeChanged((frames) => frames.map((frame, i) => (i === 5 ? flipByte(frame, 10) : frame)));
  assert.is(summary.corrupt, 1);
  assert.is(summary.frames, 5);
  assert.is(summary.lost, 15);
});

for (const dropped of [0, 9, 19]) {
  s(`detects that frame ${dropped} of twenty is dropped`, async () => {
    const summary = await consumeChanged((frames) => frames.filter((_, i) => i !== dropped));
    assert.is(summary.lost, 1);
    assert.is(summary.frames, 19);
    assert.is(summary.sha256Match, false);
  });
}

s('detects a duplicated frame', async () => {
  const summary = await consumeChanged((frames) => frames.flatMap((frame, i) => (i === 4 ? [frame, frame] : [frame])));
  assert.is(summary.duplicated, 1);
  assert.is(summary.lost, 0);
  assert.is(summary.sha256Match, false);
});

s('detects two swapped frames', async () => {
  const summary = await consumeChanged(([a, b, ...rest]) => [b, a, ...rest].filter((frame) => frame !== undefined));
  assert.is(summary.reordered, 1);
  assert.is(summary.lost, 0);
  assert.is(summary.duplicated, 0);
  assert.is(summary.sha256Match, false);
});

s('detects a connection that ends early', async () => {
  const summary = await consumeChanged((frames) => [
    ...frames.slice(0, 8),
    Buffer.from(frames[8]?.subarray(0, 500) ?? []),
  ]);
  assert.is(summary.frames, 8);
  assert.is(summary.lost, 12);
  assert.is(summary.sha256Match, false);
  assert.match(summary.faults.join('\n'), 'ended before its closing frame');
});

s('times out without data', async () => {
  const producer = await startProducer({ frameBytes: 10, rate: 0.001 });
  const connect = producer.ports.map((port) => ({ host: LOOPBACK, port }));
  const summary = await runConsumer({ connect, timeoutMs: 200 });
  assert.match(summary.faults.join('\n'), 'timed out after 200 ms');
  assert.is((await producer.stop()).lost, 1);
});

s('ends an endless stream with its closing frame when stopped', async () => {
  const producer = await startProducer({ frameBytes: 1000, rate: 200 });
  let sent: Promise<ProducerSummary> | undefined;
  const summary = await runConsumer({
    connect: producer.ports.map((port) => ({ host: LOOPBACK, port })),
    onProgress: () => {
      sent ??= producer.stop();
    },
  });
  assert.equal(summary.faults, []);
  assert.is(summary.frames, (await sent)?.frames);
  assert.ok(summary.frames > 100 && summary.frames < 400, `${summary.frames} frames in about one second`);
});

s('exits with status 0 after success and 1 after a changed byte', async () => {
  const producer = await startProducer({ frameBytes: 1000, count: 20 });
  const port = producer.ports[0] ?? 0;
  const change: Change = (frames) => frames.map((frame, i) => (i === 0 ? flipByte(frame, 50) : frame));
  const middleMan = await startMiddleMan(port, change);
  const [good, bad] = await Promise.all([
    run('consumer', ['--connect', `${LOOPBACK}:${port}`, '--count', '20', '--json']),
    run('consumer', ['--connect', `${LOOPBACK}:${middleMan.port}`, '--json']),
  ]);
  middleMan.close();
  await producer.stop();
  assert.is(good.status, 0, good.stderr);
  assert.is((JSON.parse(good.stdout) as Summary).sha256Match, true);
  assert.is(bad.status, 1);
  assert.is((JSON.parse(bad.stdout) as Summary).corrupt, 1);
  assert.match(bad.stderr, '1 frames were corrupt');
});

s('exits with status 1 when the connection is refused', async () => {
  const producer = await startProducer({ count: 1 });
  await producer.stop();
  const { status, stderr } = await run('consumer', ['--connect', `${LOOPBACK}:${producer.ports[0]}`]);
  assert.is(status, 1);
  assert.match(stderr, 'ECONNREFUSED');
});

for (const [program, args, value] of [
  ['consumer', ['--bogus'], '--bogus'],
  ['consumer', [], '--connect'],
  ['consumer', ['--connect', 'nowhere'], 'nowhere'],
  ['consumer', ['--connect', '127.0.0.1:1', '--timeout', '5 years'], '5 years'],
  ['producer', ['--listen', '127.0.0.1:70000'], '70000'],
  ['producer', ['--listen', '127.0.0.1:0', '--frame-size', '3XB'], '3XB'],
] as const) {
  s(`${program} ${args.join(' ')} exits with status 2 and an error`, async () => {
    const { status, stdout, stderr } = await run(program, args);
    assert.is(status, 2);
    assert.is(stdout, '');
    assert.ok(stderr.includes(value), stderr);
  });
}

s.run();
