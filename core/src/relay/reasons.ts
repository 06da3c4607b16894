import type { TlsFailureStatus } from './protocol.js';

/** Time for which a reason is not repeated, ms. */
const REST_MS = 60_000;
/** Maximum number of different reasons in that time. Strangers choose some of them. */
const MAX_REASONS = 16;

/** Maximum length of a reason, characters. */
const MAX_LENGTH = 200;

/** Reports why handshakes fail, so that strangers cannot fill the log, and keeps the latest reason. */
export class Reasons {
  /** The latest failure. Undefined: none. */
  latest: TlsFailureStatus | undefined;
  readonly #reportedAt = new Map<string, number>();

  /** @param report Writes one line. */
  constructor(private readonly report: (text: string) => void) {}

  /** Reports an error, unless the same reason was reported in the last minute. */
  note(what: string, { code, message }: NodeJS.ErrnoException): void {
    // Only ASCII: a message may quote what a stranger sent.
    const text = `${what}: ${code ?? message}`.replace(/[^\x20-\x7e]/g, '?').slice(0, MAX_LENGTH);
    this.latest = { at: new Date().toISOString(), reason: text };
    const now = performance.now();
    for (const [known, at] of this.#reportedAt) if (now - at >= REST_MS) this.#reportedAt.delete(known);
    if (this.#reportedAt.has(text) || this.#reportedAt.size >= MAX_REASONS) return;
    this.#reportedAt.set(text, now);
    this.report(text);
  }
}
