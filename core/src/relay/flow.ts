import type { OnReadOpts, Socket } from 'node:net';
import { giveBuffer, SCRATCH, takeBuffer } from './buffers.js';
import { errorBehindEnd, type Leg } from './sockets.js';

/** Bytes kept for a client whose target is not there yet; then its socket is left unread. */
const HOLD_BYTES = 64 * 1024;
/** Most payload of a TLS record (RFC 8446 section 5.1). A stream of chunks this long is bulk data. */
const RECORD_BYTES = 16 * 1024;
/** Chunks are gathered up to this many bytes, as long as one turn of the event loop brings more. */
const BATCH_BYTES = 256 * 1024;
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
  #batch: Buffer[] = [];
  #batchBytes = 0;
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

  /** Names the leg whose data come through {@link onread} or {@link push}; call once, before it can emit anything. */
  from(leg: Leg): void {
    this.#source = leg.socket;
    leg.socket.once('end', () => this.#end(leg));
    leg.socket.once('close', () => {
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
   * A chunk that did not come through {@link onread}: TLS, or a socket without a usable handle. The caller gives it away.
   * Full records are gathered and written in one go, which saves most of the system calls; a short one is the last of
   * what there is, and waits for nothing.
   */
  push(chunk: Buffer): void {
    this.#count(chunk.length);
    this.#batch.push(chunk);
    this.#batchBytes += chunk.length;
    if (chunk.length < RECORD_BYTES || this.#batchBytes >= BATCH_BYTES) this.#flush();
    else if (this.#batch.length === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const chunks = this.#batch.splice(0);
    const sink = this.#sink;
    const last = sink && chunks.pop();
    this.#batchBytes = 0;
    // One write of many chunks: only the last one is waited for, which ends with all of them.
    sink?.cork();
    for (const chunk of chunks) {
      if (sink) sink.write(chunk);
      else this.#pass(chunk, undefined);
    }
    if (last) this.#pass(last, undefined);
    sink?.uncork();
    if (this.#paused) this.#source?.pause();
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

  #end(leg: Leg): void {
    const error = errorBehindEnd(leg);
    if (error) {
      leg.socket.destroy(error);
      return;
    }
    this.#flush();
    this.#ended = true;
    this.#sink?.end();
  }
}
