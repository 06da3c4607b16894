/**
 * Read buffers of the whole process. Size is what makes a user-space forwarder fast (fewer system calls per byte), but
 * a buffer that waits in an idle socket is lost memory: only directions that move bulk data take big ones, from a pool
 * of bounded size, and all others read into one shared scratch buffer and copy the little they got. (Node takes the next
 * buffer right after a read, so a direction that falls silent after a large one keeps its buffer until it moves again.)
 */

const BIG_BYTES = 512 * 1024;
/** 128 MiB. Beyond it further busy directions go on with the scratch buffer: slower, never out of memory. */
const MAX_BIG = 256;
/** Free ones kept for the next burst (8 MiB); the rest goes back to the garbage collector. */
const MAX_FREE = 16;

/** Shared by every direction without a big buffer: its content is only valid until the read callback returns. */
export const SCRATCH: Buffer = Buffer.allocUnsafeSlow(64 * 1024);

const free: Buffer[] = [];
let lent = 0;

/** A big buffer for the caller alone, or undefined when the pool is used up. Return it with {@link giveBuffer}. */
export function takeBuffer(): Buffer | undefined {
  if (lent === MAX_BIG) return undefined;
  lent += 1;
  return free.pop() ?? Buffer.allocUnsafeSlow(BIG_BYTES);
}

/** Takes a big buffer back, once, when neither a read nor a write uses it any more. */
export function giveBuffer(buffer: Buffer): void {
  lent -= 1;
  if (free.length < MAX_FREE) free.push(buffer);
}
