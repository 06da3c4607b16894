import { createHash } from 'node:crypto';
import type { RecordableHistogram } from 'node:perf_hooks';
import { formatAddress, type Address } from './address.js';
import { FrameParser } from './frame-parser.js';
import { FrameError, nowNs, type Closing, type FrameHeader } from './frame.js';
import { SequenceTracker } from './sequence-tracker.js';

/** Result of one connection. */
export interface ConnectionSummary {
  /** Address of the connection, `host:port`. */
  readonly address: string;
  /** Listener index and seed of the producer, from the first frame; undefined before it. */
  readonly connection: number | undefined;
  readonly seed: number | undefined;
  /** Payload bytes received, including those of truncated frames. */
  readonly bytes: number;
  /** Complete data frames, including damaged and duplicated ones. */
  readonly frames: number;
  readonly lost: number;
  readonly duplicated: number;
  /** Frames with a wrong checksum, plus one if the bytes stopped being frames. */
  readonly corrupt: number;
  readonly reordered: number;
  /** Whether the SHA-256 of the producer matches the received bytes; null if it is not checked. */
  readonly sha256Match: boolean | null;
}

/** Verifies the bytes of one connection as they arrive. */
export class Reception {
  /** Sentences about failures of the connection, oldest first. */
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

  /**
   * @param sha256 Whether to verify the closing SHA-256. @param latencyUs Records µs from send to last byte, at least
   * 1.
   */
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

  /** True after the closing frame: the connection can no longer fail. */
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

  /** Verifies the next bytes. Returns false after a fault that makes the rest of the connection unreadable. */
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

  /** Records a fault as the sentence `Connection to <address> <predicate>`. */
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
    // If the clocks of two hosts differ by more than the latency, it counts as 1 µs.
    this.#latencyUs.record(Math.max(1, Math.round(Number(nowNs() - header.sentNs) / 1000)));
  }

  #onClosing(closing: Closing): void {
    this.#complete = true;
    if (!this.#sequences.close(closing.firstSequence, closing.frames)) {
      this.fault(`has frames beyond the ${closing.frames} of its closing frame`);
    }
    if (this.#hash === undefined) return;
    this.#sha256Match = closing.sha256?.equals(this.#hash.digest()) ?? false;
    if (closing.sha256 === undefined)
      this.fault('has no SHA-256 in its closing frame; set --no-sha256 to skip the check');
    else if (!this.#sha256Match) this.fault('received other bytes than were sent: the SHA-256 differs');
  }
}
