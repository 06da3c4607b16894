import { connect } from 'node:net';
import { createHistogram } from 'node:perf_hooks';
import type { Address } from './address.js';
import { Reception, type ConnectionSummary } from './reception.js';

/** Connections of a consumer and its expectations. */
export interface ConsumerOptions {
  /** One concurrent connection each. */
  readonly connect: readonly Address[];
  /** Expected total number of frames; undefined relies on the closing frames. */
  readonly count?: number;
  /** Maximum time without a byte on any connection, including the start, ms. Default 30000. */
  readonly timeoutMs?: number;
  /** False skips the SHA-256; checksums of frames are always verified. Default true. */
  readonly sha256?: boolean;
  /** Ends the run early, which is a fault unless every connection is complete. */
  readonly signal?: AbortSignal;
  /** Called once per second while connections are open. */
  readonly onProgress?: (progress: Progress) => void;
}

/** State of a running consumer. */
export interface Progress {
  /** Time since the start, s. */
  readonly seconds: number;
  /** Payload bytes so far. */
  readonly bytes: number;
  /** Payload rate since the last call, 10^9 bit/s. */
  readonly gbps: number;
  readonly frames: number;
  readonly lost: number;
}

/** Result of a consumer, summed over its connections. */
export interface Summary extends Totals {
  /** False if it is false for any connection; null if it is not checked. */
  readonly sha256Match: boolean | null;
  /** Payload rate over `seconds`, 10^9 bit/s. */
  readonly gbps: number;
  /** From the send time of a frame to its last byte, ms. Between hosts it includes the clock difference. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** From the first byte to the last one, s. */
  readonly seconds: number;
  /** Number of requested connections. */
  readonly connections: number;
  readonly perConnection: readonly ConnectionSummary[];
  /** A sentence for every failure. Empty if every sent byte was received once and in order. */
  readonly faults: readonly string[];
}

interface Totals {
  readonly bytes: number;
  readonly frames: number;
  /** Frames never received; with `count`, at least the difference to it. */
  readonly lost: number;
  readonly duplicated: number;
  readonly corrupt: number;
  readonly reordered: number;
}

const RECEIVE_BUFFER_BYTES = 512 * 1024;

/**
 * Opens all connections, reads each to its end and verifies the data. Never rejects for network errors; those are in
 * `faults`. A connection that cannot be opened ends the run; one that breaks later ends alone.
 */
export async function runConsumer(options: ConsumerOptions): Promise<Summary> {
  const latencyUs = createHistogram();
  const receptions = options.connect.map((address) => new Reception(address, options.sha256 ?? true, latencyUs));
  const span = { beganMs: 0, endedMs: 0 };
  const giveUp = new AbortController();
  const timeoutMs = options.timeoutMs ?? 30_000;
  const idle = setTimeout(() => giveUp.abort(`timed out after ${timeoutMs} ms without a byte`), timeoutMs);
  const onStop = (): void => giveUp.abort('was stopped before its closing frame');
  options.signal?.addEventListener('abort', onStop);
  if (options.signal?.aborted === true) onStop();
  const reporting = reportEverySecond(receptions, options.onProgress);
  const onBytes = (): void => {
    idle.refresh();
    span.endedMs = performance.now();
    if (span.beganMs === 0) span.beganMs = span.endedMs;
  };
  await Promise.all(
    options.connect.flatMap((address, index) => {
      const reception = receptions[index];
      return reception === undefined ? [] : [receive(address, reception, giveUp, onBytes)];
    }),
  );
  clearTimeout(idle);
  clearInterval(reporting);
  options.signal?.removeEventListener('abort', onStop);
  const latency = { p50: latencyUs.percentile(50), p99: latencyUs.percentile(99), max: latencyUs.max };
  return summarize(receptions, options.count, (span.endedMs - span.beganMs) / 1000, latency);
}

/** Reads one connection into its reception; resolves when it is closed for any reason. */
function receive(address: Address, reception: Reception, giveUp: AbortController, onBytes: () => void): Promise<void> {
  return new Promise((resolve) => {
    if (giveUp.signal.aborted) {
      reception.fault(String(giveUp.signal.reason));
      resolve();
      return;
    }
    const buffer = Buffer.allocUnsafe(RECEIVE_BUFFER_BYTES);
    let connected = false;
    let faulted = false;
    const fault = (predicate: string): void => {
      // After the closing frame all data is verified, and a gateway may reset the connection. After a fault, errors are
      // follow-ups.
      if (!reception.complete && !faulted) reception.fault(predicate);
      faulted = true;
    };
    const callback = (length: number): boolean => {
      onBytes();
      if (!reception.push(buffer.subarray(0, length))) {
        faulted = true;
        socket.destroy();
      } else if (reception.complete) {
        socket.end();
      }
      return true;
    };
    const socket = connect({ ...address, onread: { buffer, callback } });
    const onGiveUp = (): void => {
      fault(String(giveUp.signal.reason));
      socket.destroy();
    };
    giveUp.signal.addEventListener('abort', onGiveUp);
    socket.on('connect', () => (connected = true));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message;
      fault(connected ? `broke after ${reception.summary.frames} frames: ${code}` : `failed: ${code}`);
      if (!connected) giveUp.abort('was aborted because another connection failed');
    });
    socket.on('close', () => {
      fault(`ended before its closing frame, after ${reception.summary.frames} frames`);
      giveUp.signal.removeEventListener('abort', onGiveUp);
      resolve();
    });
  });
}

function reportEverySecond(receptions: readonly Reception[], onProgress: ConsumerOptions['onProgress']) {
  if (onProgress === undefined) return undefined;
  const beganMs = performance.now();
  let last = { bytes: 0, atMs: beganMs };
  return setInterval(() => {
    const { bytes, frames, lost } = total(receptions.map((reception) => reception.summary));
    const atMs = performance.now();
    const gbps = ((bytes - last.bytes) * 8) / 1e6 / (atMs - last.atMs);
    last = { bytes, atMs };
    onProgress({ seconds: (atMs - beganMs) / 1000, bytes, gbps, frames, lost });
  }, 1000);
}

function summarize(
  receptions: readonly Reception[],
  count: number | undefined,
  seconds: number,
  latencyUs: Summary['latencyMs'],
): Summary {
  const perConnection = receptions.map((reception) => reception.summary);
  const totals = total(perConnection);
  const missing = count === undefined ? 0 : count - (totals.frames - totals.duplicated);
  const lost = Math.max(totals.lost, missing);
  const faults = receptions.flatMap((reception) => reception.faults);
  const { frames, duplicated, corrupt, reordered, bytes } = totals;
  if (lost > 0) faults.push(`${lost} frames were lost`);
  if (duplicated > 0) faults.push(`${duplicated} frames arrived more than once`);
  if (corrupt > 0) faults.push(`${corrupt} frames were corrupt`);
  if (reordered > 0) faults.push(`${reordered} frames arrived out of order`);
  if (missing < 0) faults.push(`${-missing} more frames arrived than the expected ${count}`);
  const hashes = perConnection.map((connection) => connection.sha256Match);
  return {
    bytes,
    frames,
    lost,
    duplicated,
    corrupt,
    reordered,
    sha256Match: hashes.includes(false) ? false : hashes.includes(null) ? null : true,
    gbps: seconds === 0 ? 0 : (bytes * 8) / 1e9 / seconds,
    latencyMs: { p50: latencyUs.p50 / 1000, p99: latencyUs.p99 / 1000, max: latencyUs.max / 1000 },
    seconds,
    connections: perConnection.length,
    perConnection,
    faults,
  };
}

function total(parts: readonly ConnectionSummary[]): Totals {
  const sum = (key: keyof Totals): number => parts.reduce((before, part) => before + part[key], 0);
  return {
    bytes: sum('bytes'),
    frames: sum('frames'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    corrupt: sum('corrupt'),
    reordered: sum('reordered'),
  };
}
