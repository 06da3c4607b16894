/**
 * Read buffers of the process. Large buffers make a user-space forwarder fast, because they need fewer system calls per
 * byte, but a large buffer in an idle socket wastes memory. So only directions with bulk data take one, from a pool of
 * bounded size. All others read into a shared scratch buffer and copy the few bytes. (Node.js requests the next buffer
 * right after a read, so a direction that becomes idle after bulk data keeps its buffer until its next read.)
 */

const BIG_BYTES = 512 * 1024;
/**
 * Data that all directions of the process may hold, with and without TLS. Beyond it, a direction holds one read at most:
 * it is slower, but the memory of a blocked connection is small.
 */
export const BUDGET_BYTES = 128 * 1024 * 1024;
/** Free buffers that are kept for the next burst (8 MiB). Others are garbage-collected. */
const MAX_FREE = 16;

/** Shared by all directions without a big buffer. Its content is valid until the read callback returns. */
export const SCRATCH: Buffer = Buffer.allocUnsafeSlow(64 * 1024);

const free: Buffer[] = [];
let held = 0;

/** Counts data as held by the process. Return the bytes with {@link release}. */
export function hold(bytes: number): void {
  held += bytes;
}

/** Ends a {@link hold}. */
export function release(bytes: number): void {
  held -= bytes;
}

/** Returns true if the budget is used up. */
export const isTight = (): boolean => held >= BUDGET_BYTES;

/** Takes a big buffer from the pool; undefined if the budget is used up. Return it with {@link giveBuffer}. */
export function takeBuffer(): Buffer | undefined {
  if (held + BIG_BYTES > BUDGET_BYTES) return undefined;
  hold(BIG_BYTES);
  return free.pop() ?? Buffer.allocUnsafeSlow(BIG_BYTES);
}

/** Returns a big buffer to the pool. Call it once, when no read or write uses the buffer. */
export function giveBuffer(buffer: Buffer): void {
  release(BIG_BYTES);
  if (free.length < MAX_FREE) free.push(buffer);
}
