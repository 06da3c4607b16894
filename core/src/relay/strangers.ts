import { isIPv6 } from 'node:net';

/** Clients of one source, and of all sources together, whose handshake has not ended. */
const MAX_OF_SOURCE = 128;
const MAX_ALL = 512;
/** Sources with a complete handshake that are remembered; beyond that, the one that connected least recently is forgotten. */
const MAX_PROVEN = 1_000;

/**
 * Limits the clients whose TLS handshake has not ended. A source that has completed one is not limited: it is the other
 * gateway, and strangers must not keep it out.
 */
export class Strangers {
  readonly #open = new Map<string, number>();
  readonly #proven = new Set<string>();
  #all = 0;

  /** Counts a client. @returns Ends the count; call it once. Undefined if the client must be rejected */
  enter(address = ''): (() => void) | undefined {
    const source = sourceOf(address);
    if (this.#proven.has(source)) return () => undefined;
    const others = this.#open.get(source) ?? 0;
    if (others >= MAX_OF_SOURCE || this.#all >= MAX_ALL) return undefined;
    this.#open.set(source, others + 1);
    this.#all += 1;
    return () => {
      const left = (this.#open.get(source) ?? 1) - 1;
      if (left > 0) this.#open.set(source, left);
      else this.#open.delete(source);
      this.#all -= 1;
    };
  }

  /** Notes that a client of this address has completed its handshake. */
  proven(address = ''): void {
    const source = sourceOf(address);
    this.#proven.delete(source);
    this.#proven.add(source);
    for (const oldest of this.#proven) {
      if (this.#proven.size <= MAX_PROVEN) return;
      this.#proven.delete(oldest);
    }
  }
}

/** With IPv6 the /64 network, because one host can use all its addresses. */
function sourceOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = [], tail] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = tail ? Array.from({ length: 8 - head.length - tail.length }, () => '0') : [];
  return [...head, ...zeros, ...(tail ?? [])].slice(0, 4).join(':');
}
