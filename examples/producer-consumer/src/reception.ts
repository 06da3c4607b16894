import { createHash } from 'node:crypto';
import type { RecordableHistogram } from 'node:perf_hooks';
import { formatAddress, type Address } from './address.js';
import { FrameParser } from './frame-parser.js';
import { FrameError, nowNs, type Closing, type FrameHeader } from './frame.js';
import { SequenceTracker } from './sequence-tracker.js';

/** What one connection brought. */
export interface ConnectionSummary {
  /** Where the consumer connected to, `host:port`. */
  readonly address: string;
  /** Index of the producer's listener and its seed, from the first frame; undefined before one came. */
  readonly connection: number | undefined;
  readonly seed: number | undefined;
  /** Payload bytes received, of whole and of cut frames. */
  readonly bytes: number;
  /** Data frames received whole, damaged and duplicated ones included. */
  readonly frames: number;
  readonly lost: number;
  readonly duplicated: number;
  /** Frames with a wrong checksum, plus one when the bytes stopped being frames at all. */
  readonly corrupt: number;
  readonly reordered: number;
  /** Whether the producer's SHA-256 is that of the bytes received; null when not checked by request. */
  readonly sha256Match: boolean | null;
}

/** Checks the bytes of one connection as they arrive. */
export class Reception {
  /** Sentences about what went wrong with the connection itself, in order. */
  readonly faults: string[] = [];
  readonly #name: string;
  readonly #latencyUs: RecordableHistogram;
  readonly #hash;
  readonly #sequences = new SequenceTracker();
  readonly #parser: FrameParser;
  #first: FrameHeader | undefined;
  #mixed = false;
  #complete = false;
  #sha256Match: boolean | null;
  #bytes = 0;
  #frames = 0;
  #corrupt = 0;

  /** @param sha256 whether to compare the closing SHA-256. @param latencyUs takes µs from send to last byte, at least 1. */
  constructor(address: Address, sha256: boolean, latencyUs: RecordableHistogram) {
    this.#name = formatAddress(address);
    this.#latencyUs = latencyUs;
    this.#hash = sha256 ? createHash('sha256') : undefined;
    this.#sha256Match = sha256 ? false : null;
    this.#parser = new FrameParser({
      payload: (piece) => {
        this.#bytes += piece.length;
        this.#hash?.update(piece);
      },
      frame: (header, intact) => this.#onFrame(header, intact),
      closing: (closing) => this.#onClosing(closing),
    });
  }

  /** True once the closing frame arrived: nothing more can go wrong with the connection. */
  get complete(): boolean {
    return this.#complete;
  }

  get summary(): ConnectionSummary {
    const { lost, duplicated, reordered } = this.#sequences;
    return {
      address: this.#name,
      connection: this.#first?.connection,
      seed: this.#first?.seed,
      bytes: this.#bytes,
      frames: this.#frames,
      lost,
      duplicated,
      corrupt: this.#corrupt,
      reordered,
      sha256Match: this.#sha256Match,
    };
  }

  /** Takes the next bytes. Returns false, with a fault noted, when the rest of the connection cannot be read. */
  push(chunk: Buffer): boolean {
    try {
      this.#parser.push(chunk);
      return true;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#corrupt++;
      this.fault(`is unreadable after ${this.#frames} frames: ${error.message}`);
      return false;
    }
  }

  /** Notes a fault: the sentence is `Connection to <address> <predicate>`. */
  fault(predicate: string): void {
    this.faults.push(`Connection to ${this.#name} ${predicate}`);
  }

  #onFrame(header: FrameHeader, intact: boolean): void {
    this.#first ??= header;
    this.#frames++;
    if (!intact) this.#corrupt++;
    this.#sequences.see(header.sequence);
    if (!this.#mixed && (header.seed !== this.#first.seed || header.connection !== this.#first.connection)) {
      this.#mixed = true;
      this.fault(`carries frames of two streams: seed ${this.#first.seed}, then ${header.seed}`);
    }
    // Clocks of two hosts may disagree by more than the frame travelled: then it counts as 1 µs.
    this.#latencyUs.record(Math.max(1, Math.round(Number(nowNs() - header.sentNs) / 1000)));
  }

  #onClosing(closing: Closing): void {
    this.#complete = true;
    if (!this.#sequences.close(closing.firstSequence, closing.frames)) {
      this.fault(`brought frames outside the ${closing.frames} its closing frame tells of`);
    }
    if (this.#hash === undefined) return;
    this.#sha256Match = closing.sha256?.equals(this.#hash.digest()) ?? false;
    if (closing.sha256 === undefined) this.fault('has no SHA-256 in its closing frame; give --no-sha256 to go without');
    else if (!this.#sha256Match) this.fault('brought other bytes than were sent: the SHA-256 differs');
  }
}
