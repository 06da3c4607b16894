import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { encodeClosing, encodeHeader, nowNs } from './frame.js';
import type { PayloadPool } from './payload-pool.js';

/** Parameters of one connection's stream. */
export interface OutgoingStream {
  readonly pool: PayloadPool;
  /** Index of the listener, part of every header. */
  readonly connection: number;
  /** Number of data frames; Infinity for an endless stream. */
  readonly frames: number;
  /** Frames per second, 0 for no limit. */
  readonly rate: number;
  readonly seed: number;
  readonly firstSequence: number;
  readonly sha256: boolean;
}

/** Result of a connection. */
export interface Outcome {
  /** Data frames handed to the kernel. */
  readonly frames: number;
  /** Their payload bytes. */
  readonly bytes: number;
  /** Why the client missed its closing frame; undefined if it received the whole stream. */
  readonly lostBecause: string | undefined;
}

/** Small frames are batched up to this size. Larger ones are queued one at a time, so that memory is bounded. */
const BATCH_BYTES = 256 * 1024;

/**
 * Sends one stream and its closing frame with backpressure, and resolves when the connection is closed. `stop` ends the
 * stream early, with a closing frame. Never rejects: a broken connection is an outcome.
 */
export async function sendStream(socket: Socket, stream: OutgoingStream, stop: AbortSignal): Promise<Outcome> {
  let broken: NodeJS.ErrnoException | undefined;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', (error) => (broken = error));
  socket.setNoDelay(true);
  socket.resume();
  const { frames, bytes, sha256 } = await sendFrames(socket, stream, stop);
  // False after the client has closed its side or the connection broke, so that the closing frame cannot be sent.
  const listening = socket.writable;
  if (listening) {
    const { firstSequence } = stream;
    const payload = encodeClosing({ firstSequence, frames, sha256 });
    const header = frameHeader(stream, firstSequence + frames, payload.length, crc32(payload), true);
    socket.end(Buffer.concat([header, payload]));
  }
  await closed;
  const taken = listening && socket.writableFinished && broken === undefined;
  return { frames, bytes, lostBecause: taken ? undefined : (broken?.code ?? 'the connection was closed') };
}

async function sendFrames(socket: Socket, stream: OutgoingStream, stop: AbortSignal) {
  const hash = stream.sha256 ? createHash('sha256') : undefined;
  const beganMs = performance.now();
  const waitMs = (frame: number): number =>
    stream.rate === 0 ? 0 : beganMs + (frame * 1000) / stream.rate - performance.now();
  let frames = 0;
  let bytes = 0;
  while (frames < stream.frames) {
    await pause(waitMs(frames), stop);
    if (stop.aborted || !socket.writable) break;
    socket.cork();
    do {
      const sequence = stream.firstSequence + frames;
      const payload = stream.pool.at(sequence);
      hash?.update(payload.bytes);
      socket.write(frameHeader(stream, sequence, payload.bytes.length, payload.crc, false));
      socket.write(payload.bytes);
      bytes += payload.bytes.length;
      frames++;
    } while (frames < stream.frames && socket.writableLength < BATCH_BYTES && waitMs(frames) <= 0);
    socket.uncork();
    await drained(socket);
  }
  return { frames, bytes, sha256: hash?.digest() };
}

function frameHeader(stream: OutgoingStream, sequence: number, length: number, crc: number, last: boolean): Buffer {
  const { connection, seed } = stream;
  return encodeHeader({ last, connection, sequence, sentNs: nowNs(), payloadBytes: length, payloadCrc: crc, seed });
}

/** Waits for the time of the next frame. A stop ends the wait; the caller checks `stop`. */
async function pause(waitMs: number, stop: AbortSignal): Promise<void> {
  if (waitMs <= 0 || stop.aborted) return;
  await delay(waitMs, undefined, { signal: stop }).catch((error: unknown) => {
    if (!stop.aborted) throw error;
  });
}

/** Resolves when the socket accepts more data or is closed. */
function drained(socket: Socket): Promise<void> {
  if (!socket.writableNeedDrain || socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}
