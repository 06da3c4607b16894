/** Frames of the example programs, which read bytes from any peer. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  encodeClosing,
  encodeHeader,
  FrameError,
  FrameParser,
  HEADER_BYTES,
} from '@scistream/example-producer-consumer';
import { hunt } from './hunt.js';

const s = hunt('frames');

interface Read {
  readonly payload: number;
  readonly frames: number;
  readonly intact: number;
  readonly error?: string;
}

/** Gives the bytes to a parser in pieces. It reads them, or rejects them with its own error. */
function read(bytes: Buffer, cuts: readonly number[]): Read {
  const seen = { payload: 0, frames: 0, intact: 0 };
  const parser = new FrameParser({
    payload: (piece) => void (seen.payload += piece.length),
    frame: (_header, intact) => void ((seen.frames += 1), (seen.intact += intact ? 1 : 0)),
    closing: ({ frames }) => assert.ok(Number.isSafeInteger(frames)),
  });
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  try {
    let from = 0;
    for (const end of ends) {
      parser.push(bytes.subarray(from, end));
      from = end;
    }
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    return { ...seen, error: error.message };
  }
  return seen;
}

const cuts = fc.array(fc.nat(500), { maxLength: 5 });
const header = fc.record({
  last: fc.boolean(),
  connection: fc.nat(65_535),
  sequence: fc.maxSafeNat(),
  sentNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  payloadBytes: fc.oneof(fc.nat(100), fc.nat(0xffffffff)),
  payloadCrc: fc.nat(0xffffffff),
  seed: fc.nat(0xffffffff),
});

s('frame: bytes', fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.option(header), cuts), ([rest, head, at]) => {
  const bytes = Buffer.concat([head ? encodeHeader(head) : Buffer.alloc(0), rest]);
  const once = read(bytes, []);
  // The result does not depend on the pieces.
  assert.equal(read(bytes, at), once);
  assert.ok(once.payload <= rest.length);
});

/** A correct connection. */
function connection(payloads: readonly Uint8Array[], first: number): Buffer {
  const frame = (last: boolean, sequence: number, payload: Uint8Array): Buffer =>
    Buffer.concat([
      encodeHeader({
        last,
        connection: 0,
        sequence,
        sentNs: 0n,
        payloadBytes: payload.length,
        payloadCrc: crc32(Buffer.from(payload)),
        seed: 1,
      }),
      payload,
    ]);
  const closing = encodeClosing({ firstSequence: first, frames: payloads.length, sha256: undefined });
  return Buffer.concat([
    ...payloads.map((payload, i) => frame(false, first + i, payload)),
    frame(true, first + payloads.length, closing),
  ]);
}

const connections = fc
  .tuple(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), fc.nat(1000))
  .map(([payloads, first]) => ({ bytes: connection(payloads, first), count: payloads.length }));

s(
  'frame: damaged',
  fc.tuple(connections, fc.nat(400), fc.integer({ min: 1, max: 255 }), cuts),
  ([{ bytes, count }, at, bits, pieces]) => {
    assert.equal(read(bytes, pieces), {
      payload: bytes.length - HEADER_BYTES * (count + 1) - 16,
      frames: count,
      intact: count,
    });
    const place = at % bytes.length;
    const damaged = Buffer.from(bytes);
    damaged[place] = (damaged[place] ?? 0) ^ bits;
    const { error, intact } = read(damaged, pieces);
    // One changed byte is always detected: the header or the end is rejected, or a payload is damaged.
    assert.ok(error !== undefined || intact < count, `byte ${place}`);
  },
);

s.run();
