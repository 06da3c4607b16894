import { crc32 } from 'node:zlib';

/**
 * One frame on the wire: a header of 40 bytes, then the payload. All numbers are unsigned and big endian.
 *
 * | offset | bytes | field                                                                       |
 * |-------:|------:|-----------------------------------------------------------------------------|
 * |      0 |     4 | magic `SCIF` (0x53434946)                                                   |
 * |      4 |     1 | version, 1                                                                  |
 * |      5 |     1 | flags: bit 0 = last (closing frame), the others 0                           |
 * |      6 |     2 | connection: index of the producer's listener, from 0                        |
 * |      8 |     8 | sequence: consecutive on each connection; at most 2^53 - 1                  |
 * |     16 |     8 | time the frame was handed to the socket, ns since 1970-01-01 UTC            |
 * |     24 |     4 | payload length, bytes                                                       |
 * |     28 |     4 | CRC-32 of the payload (the one of zlib)                                     |
 * |     32 |     4 | seed of the producer                                                        |
 * |     36 |     4 | CRC-32 of header bytes 0 to 35                                              |
 *
 * The closing frame of a connection has the flag `last`; its payload describes the whole connection:
 *
 * | offset | bytes | field                                                                       |
 * |-------:|------:|-----------------------------------------------------------------------------|
 * |      0 |     8 | sequence of the first data frame                                            |
 * |      8 |     8 | number of data frames; the closing frame's own sequence is first + number   |
 * |     16 |    32 | SHA-256 over all data payloads in order; absent when the producer skips it  |
 *
 * A consumer thus detects all lost frames, also before the first and after the last one that it received.
 */
export interface FrameHeader {
  /** True for the closing frame. */
  readonly last: boolean;
  /** Index of the producer's listener, 0 to 65535. */
  readonly connection: number;
  /** Consecutive number on this connection, a safe integer. */
  readonly sequence: number;
  /** Send time, ns since the epoch. */
  readonly sentNs: bigint;
  /** Bytes of payload that follow the header. */
  readonly payloadBytes: number;
  /** CRC-32 of the payload. */
  readonly payloadCrc: number;
  /** Seed of the producer, 32 bits. */
  readonly seed: number;
}

/** Content of a closing frame. */
export interface Closing {
  /** Sequence of the connection's first data frame. */
  readonly firstSequence: number;
  /** Data frames sent on the connection. */
  readonly frames: number;
  /** SHA-256 of their payloads, 32 bytes; undefined if the producer did not compute it. */
  readonly sha256: Buffer | undefined;
}

/** Bytes of a frame header. */
export const HEADER_BYTES = 40;
/** Maximum payload of a closing frame, bytes. */
export const MAX_CLOSING_BYTES = 48;

const CLOSING_BYTES_WITHOUT_HASH = 16;
const MAGIC = 0x53434946;
const VERSION = 1;
const FLAG_LAST = 1;
const HEADER_CRC_AT = 36;

/** The bytes are not a frame. The start of the next one is unknown, so the rest of the connection is unreadable. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Encodes a header into a new buffer of 40 bytes. */
export function encodeHeader(header: FrameHeader): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt8(VERSION, 4);
  bytes.writeUInt8(header.last ? FLAG_LAST : 0, 5);
  bytes.writeUInt16BE(header.connection, 6);
  writeSafeInteger(bytes, header.sequence, 8);
  bytes.writeBigUInt64BE(header.sentNs, 16);
  bytes.writeUInt32BE(header.payloadBytes, 24);
  bytes.writeUInt32BE(header.payloadCrc, 28);
  bytes.writeUInt32BE(header.seed, 32);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, HEADER_CRC_AT)), HEADER_CRC_AT);
  return bytes;
}

/** Parses a header from the first 40 bytes. @throws FrameError for a wrong magic, version, flag, checksum or length */
export function parseHeader(bytes: Buffer): FrameHeader {
  if (bytes.length < HEADER_BYTES) throw new FrameError(`A header has ${HEADER_BYTES} bytes, not ${bytes.length}`);
  const magic = bytes.readUInt32BE(0);
  if (magic !== MAGIC) throw new FrameError(`0x${magic.toString(16).padStart(8, '0')} is not the magic of a frame`);
  if (bytes.readUInt32BE(HEADER_CRC_AT) !== crc32(bytes.subarray(0, HEADER_CRC_AT))) {
    throw new FrameError('The checksum of a frame header is wrong');
  }
  const version = bytes.readUInt8(4);
  if (version !== VERSION) throw new FrameError(`Frame version ${version} is unknown, this program reads ${VERSION}`);
  const flags = bytes.readUInt8(5);
  if (flags > FLAG_LAST) throw new FrameError(`Frame flags 0x${flags.toString(16)} are unknown`);
  return {
    last: flags === FLAG_LAST,
    connection: bytes.readUInt16BE(6),
    sequence: readSafeInteger(bytes, 8),
    sentNs: bytes.readBigUInt64BE(16),
    payloadBytes: bytes.readUInt32BE(24),
    payloadCrc: bytes.readUInt32BE(28),
    seed: bytes.readUInt32BE(32),
  };
}

/** Encodes the payload of a closing frame: 48 bytes, or 16 without a hash. */
export function encodeClosing(closing: Closing): Buffer {
  const bytes = Buffer.alloc(CLOSING_BYTES_WITHOUT_HASH);
  writeSafeInteger(bytes, closing.firstSequence, 0);
  writeSafeInteger(bytes, closing.frames, 8);
  return closing.sha256 === undefined ? bytes : Buffer.concat([bytes, closing.sha256]);
}

/** Parses the payload of a closing frame. @throws FrameError unless it has 16 or 48 bytes */
export function parseClosing(payload: Buffer): Closing {
  if (payload.length !== CLOSING_BYTES_WITHOUT_HASH && payload.length !== MAX_CLOSING_BYTES) {
    throw new FrameError(`A closing frame has 16 or 48 bytes, not ${payload.length}`);
  }
  return {
    firstSequence: readSafeInteger(payload, 0),
    frames: readSafeInteger(payload, 8),
    sha256: payload.length === MAX_CLOSING_BYTES ? Buffer.from(payload.subarray(16)) : undefined,
  };
}

/** Current time, ns since the epoch, for frames (resolution about 250 ns). */
export function nowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
}

function writeSafeInteger(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

function readSafeInteger(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
  if (!Number.isSafeInteger(value)) throw new FrameError(`${value} exceeds the largest number of a frame`);
  return value;
}
