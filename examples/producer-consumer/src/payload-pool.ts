import { crc32 } from 'node:zlib';

const BLOCKS = 8;
const STEP_BYTES = 64;

/** A payload and its CRC-32, both precomputed. */
export interface Payload {
  readonly bytes: Buffer;
  readonly crc: number;
}

/**
 * Pseudo-random payloads, identical for the same seed and size on every machine. They are eight overlapping windows, 64
 * bytes apart, of one precomputed buffer. Frames thus cost nothing to create, and adjacent frames differ.
 */
export class PayloadPool {
  readonly #payloads: readonly Payload[];

  /** @param seed 32 bits. @param payloadBytes Size of each payload; the pool needs 448 bytes more than one payload. */
  constructor(seed: number, payloadBytes: number) {
    const noise = pseudoRandom(seed, payloadBytes + (BLOCKS - 1) * STEP_BYTES);
    this.#payloads = Array.from({ length: BLOCKS }, (_, block) => {
      const bytes = noise.subarray(block * STEP_BYTES, block * STEP_BYTES + payloadBytes);
      return { bytes, crc: crc32(bytes) };
    });
  }

  /** Payload of the frame with this sequence. Shared and read-only. */
  at(sequence: number): Payload {
    const payload = this.#payloads[sequence % BLOCKS];
    if (payload === undefined) throw new RangeError(`${sequence} is not a sequence number`);
    return payload;
  }
}

/** Bytes of the 32-bit generator "mulberry32" (a counter and a mixing function, so any seed is valid). */
function pseudoRandom(seed: number, length: number): Buffer {
  const words = Buffer.allocUnsafe(Math.ceil(length / 4) * 4);
  let counter = seed;
  for (let at = 0; at < words.length; at += 4) {
    counter = (counter + 0x6d2b79f5) | 0;
    let mixed = Math.imul(counter ^ (counter >>> 15), counter | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    words.writeUInt32LE((mixed ^ (mixed >>> 14)) >>> 0, at);
  }
  return words.subarray(0, length);
}
