import type { Readable } from 'node:stream';

const HEADER = 8;
const STDERR = 2;

/**
 * Splits the output of a program into its streams. The engine sends frames with a header of 8 bytes; its first byte
 * identifies the stream.
 */
export function demultiplex(data: Buffer): { readonly stdout: string; readonly stderr: string; readonly all: string } {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const all: Buffer[] = [];
  for (let at = 0; at + HEADER <= data.length;) {
    const end = at + HEADER + data.readUInt32BE(at + 4);
    const frame = data.subarray(at + HEADER, end);
    (data[at] === STDERR ? stderr : stdout).push(frame);
    all.push(frame);
    at = end;
  }
  const text = (frames: readonly Buffer[]): string => Buffer.concat(frames).toString('utf8');
  return { stdout: text(stdout), stderr: text(stderr), all: text(all) };
}

/** Reads a stream completely and returns at most `limit` bytes. */
export async function collect(stream: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = chunk as Buffer;
    if (size < limit) chunks.push(bytes);
    size += bytes.length;
  }
  return Buffer.concat(chunks).subarray(0, limit);
}
