import type { OnReadOpts, Socket } from 'node:net';
import { giveBuffer, SCRATCH, takeBuffer } from './buffers.js';
import { errorBehindEnd } from './sockets.js';

/** Bytes kept for a client whose target is not there yet; then its socket is left unread. */
const HOLD_BYTES = 64 * 1024;
/** Writes under way before the source is paused. With the buffer being read into: three buffers per busy direction. */
const MAX_WRITES = 2;

/**
 * One direction of a connection. Reads through `onread` (no stream buffering, no copy for bulk data), writes to the
 * sink, stops reading while the sink lags. Until {@link to} names the sink it collects up to {@link HOLD_BYTES}: a
 * socket that is not read does not notice that its peer has left.
 */
export class Flow {
  /** To be given to the source socket's constructor. */
  readonly onread: OnReadOpts = {
    buffer: () => (this.#reading = (this.#bulk ? takeBuffer() : undefined) ?? SCRATCH),
    callback: (bytes) => this.#read(bytes),
  };
  readonly #count: (bytes: number) => void;
  readonly #held: Buffer[] = [];
  #heldBytes = 0;
  #source: Socket | undefined;
  #sink: Socket | undefined;
  #reading = SCRATCH;
  #bulk = false;
  #writes = 0;
  #paused = false;
  #ended = false;

  /** @param count told the size of every read, in bytes */
  constructor(count: (bytes: number) => void) {
    this.#count = count;
  }

  /** The source ended without having sent a byte, and nothing was forwarded. */
  get endedEmpty(): boolean {
    return this.#ended && this.#heldBytes === 0;
  }

  /** Names the socket that was made with {@link onread}; call once, before it can emit anything. */
  from(source: Socket): void {
    this.#source = source;
    source.once('end', () => this.#end(source));
    source.once('close', () => {
      if (this.#reading !== SCRATCH) giveBuffer(this.#reading);
      this.#reading = SCRATCH;
    });
  }

  /** Names the sink, writes what was held and goes on reading; call once. */
  to(sink: Socket): void {
    this.#sink = sink;
    for (const chunk of this.#held.splice(0)) this.#write(sink, chunk, undefined);
    if (this.#ended) sink.end();
    this.#resume();
  }

  /**
   * A chunk that did not come through {@link onread} (a socket without a usable handle). The caller gives it away.
   * @returns false when the source must be paused; the flow resumes it
   */
  push(chunk: Buffer): boolean {
    this.#count(chunk.length);
    this.#pass(chunk, undefined);
    return !this.#paused;
  }

  #read(bytes: number): boolean {
    this.#count(bytes);
    const buffer = this.#reading;
    const data = buffer.subarray(0, bytes);
    if (buffer === SCRATCH) {
      // A full scratch buffer means that more is waiting: bulk data, worth a big buffer from the next read on.
      this.#bulk = this.#sink !== undefined && bytes === SCRATCH.length;
      this.#pass(Buffer.from(data), undefined);
    } else {
      this.#bulk = bytes >= SCRATCH.length;
      this.#pass(data, buffer);
    }
    return !this.#paused;
  }

  #pass(chunk: Buffer, owned: Buffer | undefined): void {
    if (this.#sink === undefined) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      this.#paused = this.#heldBytes >= HOLD_BYTES;
    } else {
      this.#write(this.#sink, chunk, owned);
      this.#paused = this.#writes >= MAX_WRITES;
    }
  }

  /** `write` keeps the chunk until its callback, which also comes when the sink was destroyed; only then is it free. */
  #write(sink: Socket, chunk: Buffer, owned: Buffer | undefined): void {
    this.#writes += 1;
    sink.write(chunk, () => {
      this.#writes -= 1;
      if (owned !== undefined) giveBuffer(owned);
      this.#resume();
    });
  }

  #resume(): void {
    if (!this.#paused || this.#writes >= MAX_WRITES) return;
    this.#paused = false;
    this.#source?.resume();
  }

  #end(source: Socket): void {
    const error = errorBehindEnd(source);
    if (error) {
      source.destroy(error);
      return;
    }
    this.#ended = true;
    this.#sink?.end();
  }
}
