import type { OnReadOpts, Socket } from 'node:net';
import { giveBuffer, hold, isTight, release, SCRATCH, takeBuffer } from './buffers.js';
import { errorBehindEnd, type Leg } from './sockets.js';

/** Bytes held for a client without a target. When they are reached, its socket is not read. */
const HOLD_BYTES = 64 * 1024;
/** Maximum payload of a TLS record (RFC 8446 §5.1). Chunks of this size are bulk data. */
const RECORD_BYTES = 16 * 1024;
/** Maximum bytes of the chunks that are collected within one turn of the event loop. */
const BATCH_BYTES = 256 * 1024;
/** Pending writes that pause the source. With the buffer that is read into, a busy direction uses three buffers. */
const MAX_WRITES = 2;
const maxWrites = (): number => (isTight() ? 1 : MAX_WRITES);

/**
 * One direction of a connection. It reads through `onread`, which avoids stream buffering and copies of bulk data, and
 * writes to the sink. It pauses the source while the sink is slow. Until {@link to} sets the sink, it holds up to
 * {@link HOLD_BYTES}: a socket that is never read does not report that its peer has closed the connection.
 */
export class Flow {
  /** Option for the constructor of the source socket. */
  readonly onread: OnReadOpts = {
    buffer: () => (this.#reading = (this.#bulk ? takeBuffer() : undefined) ?? SCRATCH),
    callback: (bytes) => this.#read(bytes),
  };
  readonly #count: (bytes: number) => void;
  readonly #held: Buffer[] = [];
  #batch: Buffer[] = [];
  #batchBytes = 0;
  #heldBytes = 0;
  /** Those of the held bytes that are counted in the budget of the process. */
  #counted = 0;
  #source: Socket | undefined;
  #sink: Socket | undefined;
  #reading = SCRATCH;
  #bulk = false;
  #writes = 0;
  #paused = false;
  #ended = false;

  /** @param count Called with the size of every read, bytes. */
  constructor(count: (bytes: number) => void) {
    this.#count = count;
  }

  /** True if the source ended before it sent any byte. */
  get endedEmpty(): boolean {
    return this.#ended && this.#heldBytes === 0;
  }

  /**
   * Sets the leg whose data come through {@link onread} or {@link push}. Call it once, before the leg emits any event.
   */
  from(leg: Leg): void {
    this.#source = leg.socket;
    leg.socket.once('end', () => this.#end(leg));
    leg.socket.once('close', () => {
      if (this.#reading !== SCRATCH) giveBuffer(this.#reading);
      this.#reading = SCRATCH;
      this.#uncount();
    });
  }

  /** Sets the sink, writes the held bytes and resumes reading. Call it once. */
  to(sink: Socket): void {
    this.#sink = sink;
    this.#uncount();
    for (const chunk of this.#held.splice(0)) this.#write(sink, chunk, undefined);
    if (this.#ended) sink.end();
    this.#resume();
  }

  /**
   * Takes a chunk that did not come through {@link onread}, from TLS or a socket without a usable handle. The caller
   * must not use it afterwards. Full records are collected and written together, which saves most system calls. A short
   * record is the last one available, so it is written immediately.
   */
  push(chunk: Buffer): void {
    this.#count(chunk.length);
    this.#batch.push(chunk);
    this.#batchBytes += chunk.length;
    if (chunk.length < RECORD_BYTES || this.#batchBytes >= BATCH_BYTES || isTight()) this.#flush();
    else if (this.#batch.length === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const chunks = this.#batch.splice(0);
    const sink = this.#sink;
    const last = sink && chunks.pop();
    const bytes = this.#batchBytes;
    this.#batchBytes = 0;
    // The chunks form one write, so the callback of the last chunk covers all of them.
    sink?.cork();
    for (const chunk of chunks) {
      if (sink) sink.write(chunk);
      else this.#pass(chunk, undefined);
    }
    if (last) this.#pass(last, undefined, bytes);
    sink?.uncork();
    if (this.#paused) this.#source?.pause();
  }

  #read(bytes: number): boolean {
    this.#count(bytes);
    const buffer = this.#reading;
    const data = buffer.subarray(0, bytes);
    if (buffer === SCRATCH) {
      // A full scratch buffer means that more data are available. The next read uses a big buffer.
      this.#bulk = this.#sink !== undefined && bytes === SCRATCH.length;
      this.#pass(Buffer.from(data), undefined);
    } else {
      this.#bulk = bytes >= SCRATCH.length;
      this.#pass(data, buffer);
    }
    return !this.#paused;
  }

  /** @param bytes Bytes that the write of `chunk` completes, if there are more. */
  #pass(chunk: Buffer, owned: Buffer | undefined, bytes = chunk.length): void {
    if (this.#sink === undefined) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      this.#counted += chunk.length;
      hold(chunk.length);
      this.#paused = isTight() || this.#heldBytes >= HOLD_BYTES;
    } else {
      this.#write(this.#sink, chunk, owned, bytes);
      this.#paused = this.#writes >= maxWrites();
    }
  }

  /** The buffer is free after the callback of `write`, which also runs if the sink is destroyed. */
  #write(sink: Socket, chunk: Buffer, owned: Buffer | undefined, bytes = chunk.length): void {
    this.#writes += 1;
    // A big buffer is counted until it is given back.
    const counted = owned === undefined ? bytes : 0;
    hold(counted);
    sink.write(chunk, () => {
      this.#writes -= 1;
      release(counted);
      if (owned !== undefined) giveBuffer(owned);
      this.#resume();
    });
  }

  /** Ends the count of the held bytes, which are being written or lost. */
  #uncount(): void {
    release(this.#counted);
    this.#counted = 0;
  }

  #resume(): void {
    if (!this.#paused || this.#writes >= maxWrites()) return;
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
