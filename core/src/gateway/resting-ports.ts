import type { PortRange } from '../contracts/port-allocator.js';

/** Default of `RangePortAllocator`: the time during which a released port is reused last, ms. */
export const PORT_REST_MS = 600_000;

/** A port whose stream has ended. Its consumers may still connect to it. */
export interface RestingPort {
  readonly port: number;
  /** When the stream released it. ISO 8601 UTC. */
  readonly since: string;
  /** Present for the port of a failed stream: no other stream gets it before `until` (ISO 8601 UTC). */
  readonly kept?: { readonly uid: string; readonly until: string };
}

/** The released ports of one range: a port rests for some time, so that a late consumer does not reach another stream. */
export class RestingPorts {
  /** Least recently released first. */
  readonly #ports = new Map<number, RestingPort>();

  constructor(
    private readonly range: PortRange,
    private readonly restMs: number,
  ) {}

  /** Adds the ports of an earlier process. Ignores those that no longer rest. */
  load(ports: readonly RestingPort[]): void {
    const now = Date.now();
    const { first, last } = this.range;
    for (const one of ports.toSorted((a, b) => endOf(a) - endOf(b))) {
      const inRange = one.port >= first && one.port <= last;
      if (inRange && endOf(one) + this.restMs > now) this.#ports.set(one.port, one);
    }
  }

  /** Adds released ports. @param kept For ports that a failed stream keeps. */
  add(ports: readonly number[], kept?: RestingPort['kept']): readonly RestingPort[] {
    const since = new Date().toISOString();
    const added = ports.map((port) => ({ port, since, ...(kept && { kept }) }));
    for (const one of added) {
      this.#ports.delete(one.port);
      this.#ports.set(one.port, one);
    }
    return added;
  }

  /** Ends the claim of a failed stream on its ports. They rest from now on. */
  free(uid: string): readonly RestingPort[] {
    return this.add([...this.#ports.values()].flatMap((one) => (one.kept?.uid === uid ? one.port : [])));
  }

  /** Removes a port that a stream leases. @returns since when it rested; undefined if it did not rest */
  take(port: number): string | undefined {
    const found = this.#ports.get(port);
    this.#ports.delete(port);
    return found && this.#rests(found, Date.now()) ? found.since : undefined;
  }

  /** Whether a port rests or is kept. */
  has(port: number): boolean {
    const found = this.#ports.get(port);
    return found !== undefined && this.#rests(found, Date.now());
  }

  /** The ports that rest and that no stream keeps, least recently released first. */
  available(): readonly number[] {
    const now = Date.now();
    return [...this.#ports.values()].filter((one) => !isKept(one, now)).map(({ port }) => port);
  }

  /** Number of ports that failed streams keep. */
  get kept(): number {
    const now = Date.now();
    return [...this.#ports.values()].filter((one) => isKept(one, now)).length;
  }

  /** A clock that was set back does not end the rest. */
  #rests(one: RestingPort, now: number): boolean {
    return endOf(one) + this.restMs > now;
  }
}

/** When the last stream that had the port ended, ms of the clock. */
const endOf = ({ since, kept }: RestingPort): number => Date.parse(kept?.until ?? since);

const isKept = ({ kept }: RestingPort, now: number): boolean => kept !== undefined && Date.parse(kept.until) > now;
