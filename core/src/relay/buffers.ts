/**
 * Read buffers of the process. Large buffers make a user-space forwarder fast, because they need fewer system calls per
 * byte, but a large buffer in an idle socket wastes memory. So only directions with bulk data take one, from a pool of
 * bounded size. All others read into a shared scratch buffer and copy the few bytes. (Node.js requests the next buffer
 * right after a read, so a direction that becomes idle after bulk data keeps its buffer until its next read.)
 */

const BIG_BYTES = 512 * 1024;
/** Limit of 128 MiB. Further busy directions use the scratch buffer, which is slower but needs no memory. */
const MAX_BIG = 256;
/** Free buffers that are kept for the next burst (8 MiB). Others are garbage-collected. */
const MAX_FREE = 16;

/** Shared by all directions without a big buffer. Its content is valid until the read callback returns. */
export const SCRATCH: Buffer = Buffer.allocUnsafeSlow(64 * 1024);

const free: Buffer[] = [];
let lent = 0;

/** Takes a big buffer from the pool; undefined if the limit is reached. Return it with {@link giveBuffer}. */
export function takeBuffer(): Buffer | undefined {
  if (lent === MAX_BIG) return undefined;
  lent += 1;
  return free.pop() ?? Buffer.allocUnsafeSlow(BIG_BYTES);
}

/** Returns a big buffer to the pool. Call it once, when no read or write uses the buffer. */
export function giveBuffer(buffer: Buffer): void {
  lent -= 1;
  if (free.length < MAX_FREE) free.push(buffer);
}
