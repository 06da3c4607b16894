import { crc32 } from 'node:zlib';
import {
  FrameError,
  HEADER_BYTES,
  MAX_CLOSING_BYTES,
  parseClosing,
  parseHeader,
  type Closing,
  type FrameHeader,
} from './frame.js';

/** Events of a {@link FrameParser}, called synchronously by `push`. */
export interface FrameEvents {
  /** A part of a data frame's payload. It points into the pushed chunk: use it immediately or copy it. */
  payload(piece: Buffer): void;
  /** A data frame is complete. `intact` is whether its payload has the checksum of its header. */
  frame(header: FrameHeader, intact: boolean): void;
  /** The closing frame arrived intact. */
  closing(closing: Closing): void;
}

/**
 * Parses the bytes of a connection in chunks of any size without joining frames: memory does not depend on frame size.
 */
export class FrameParser {
  readonly #events: FrameEvents;
  readonly #headerBytes = Buffer.alloc(HEADER_BYTES);
  readonly #closingBytes = Buffer.alloc(MAX_CLOSING_BYTES);
  #headerFilled = 0;
  #header: FrameHeader | undefined;
  #payloadRead = 0;
  #crc = 0;
  #closed = false;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /**
   * Parses the next bytes of the connection.
   * @throws FrameError if they are not a frame, the closing frame is damaged, or bytes follow it
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#closed) throw new FrameError(`${chunk.length - at} bytes follow the closing frame`);
      at += this.#header === undefined ? this.#readHeader(chunk, at) : this.#readPayload(this.#header, chunk, at);
      if (this.#header?.payloadBytes === this.#payloadRead) this.#finish(this.#header);
    }
  }

  #readHeader(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#headerBytes, this.#headerFilled, at, at + HEADER_BYTES - this.#headerFilled);
    this.#headerFilled += taken;
    if (this.#headerFilled < HEADER_BYTES) return taken;
    const header = parseHeader(this.#headerBytes);
    if (header.last && header.payloadBytes > MAX_CLOSING_BYTES) {
      throw new FrameError(`A closing frame has 16 or 48 bytes, not ${header.payloadBytes}`);
    }
    this.#header = header;
    this.#headerFilled = 0;
    this.#payloadRead = 0;
    this.#crc = 0;
    return taken;
  }

  #readPayload(header: FrameHeader, chunk: Buffer, at: number): number {
    const piece = chunk.subarray(at, at + header.payloadBytes - this.#payloadRead);
    this.#crc = crc32(piece, this.#crc);
    if (header.last) piece.copy(this.#closingBytes, this.#payloadRead);
    else this.#events.payload(piece);
    this.#payloadRead += piece.length;
    return piece.length;
  }

  #finish(header: FrameHeader): void {
    this.#header = undefined;
    const intact = this.#crc === header.payloadCrc;
    if (!header.last) {
      this.#events.frame(header, intact);
      return;
    }
    if (!intact) throw new FrameError('The checksum of the closing frame is wrong');
    this.#closed = true;
    this.#events.closing(parseClosing(this.#closingBytes.subarray(0, header.payloadBytes)));
  }
}
