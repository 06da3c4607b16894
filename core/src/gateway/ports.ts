import { S2DSException } from '../contracts/errors.js';
import {
  formatPorts,
  type AdoptedPorts,
  type PortAllocator,
  type PortLease,
  type PortRange,
  type PortRequest,
  type ReservedListener,
} from '../contracts/port-allocator.js';
import { formatCount } from '../contracts/units.js';
import { Queue } from '../contracts/wait.js';
import { LocalListener, RemoteListener } from './listeners.js';
import { PORT_REST_MS, RestingPorts, type RestingPort } from './resting-ports.js';

interface Lease extends PortLease {
  readonly listener: ReservedListener;
}

/**
 * Leases ports from one range. An exclusive bind (no SO_REUSEPORT) proves that a port is free, and a local proxy inherits
 * the bound socket. So no stream gets a port on which another program listens (peers.md §1.17). The search goes round the
 * range. Ports that rest after their stream ended come last, the least recently released first.
 */
export class RangePortAllocator implements PortAllocator {
  readonly #leases = new Map<number, Lease>();
  readonly #inProgress = new Map<string, Promise<readonly ReservedListener[]>>();
  readonly #queue = new Queue();
  readonly #resting: RestingPorts;
  #next: number;

  /**
   * @param restMs Time during which a released port is leased only if no other port is free, ms.
   * @param onReuse Called with the ports that a stream gets within that time. `since` is when the first one was released,
   * ISO 8601 UTC.
   */
  constructor(
    readonly range: PortRange,
    restMs = PORT_REST_MS,
    private readonly onReuse: (ports: readonly number[], since: string) => void = () => undefined,
  ) {
    this.#next = range.first;
    this.#resting = new RestingPorts(range, restMs);
  }

  /** Lets the ports rest that an earlier process released. Called before `allocate`. */
  rest(ports: readonly RestingPort[]): void {
    this.#resting.load(ports);
  }

  allocate(request: PortRequest): Promise<readonly ReservedListener[]> {
    const known = this.#inProgress.get(request.uid);
    if (known) return known;
    // One at a time: two requests that each hold half of the free ports would both fail.
    const leasing = this.#queue
      .run(() => this.#allocate(request))
      .catch((error: unknown) => {
        this.#inProgress.delete(request.uid);
        throw error;
      });
    this.#inProgress.set(request.uid, leasing);
    return leasing;
  }

  adopt({ uid, transport, addresses, remote }: AdoptedPorts): readonly ReservedListener[] {
    const listeners = addresses.map((address) => {
      const listener = remote ? new RemoteListener(address) : new LocalListener(address, transport);
      this.#leases.set(address.port, { uid, ...address, listener });
      return listener;
    });
    this.#inProgress.set(uid, Promise.resolve(listeners));
    return listeners;
  }

  /** The listeners of a stream, in the order of its addresses. Empty if it has none. */
  async of(uid: string): Promise<readonly ReservedListener[]> {
    return (await this.#inProgress.get(uid)) ?? [];
  }

  async release(uid: string): Promise<void> {
    await this.#inProgress.get(uid)?.catch(() => undefined);
    const mine = this.inUse().filter((lease) => lease.uid === uid);
    await Promise.all(mine.map(({ port }) => this.#giveBack(port)));
    this.#inProgress.delete(uid);
  }

  /**
   * Releases the ports of a stream whose consumers know them: they rest.
   * @param keptUntil ISO 8601 UTC; present for a failed stream, which keeps its ports until then.
   * @returns the entries to store
   */
  async retire(uid: string, keptUntil?: string): Promise<readonly RestingPort[]> {
    await this.#inProgress.get(uid)?.catch(() => undefined);
    const ports = this.inUse().flatMap((lease) => (lease.uid === uid ? lease.port : []));
    const resting = this.#resting.add(ports, keptUntil === undefined ? undefined : { uid, until: keptUntil });
    await this.release(uid);
    return resting;
  }

  /** Frees the ports that a failed stream keeps. They rest. @returns the entries to store */
  free(uid: string): readonly RestingPort[] {
    return this.#resting.free(uid);
  }

  /** Number of ports that are leased or that failed streams keep. */
  get taken(): number {
    return this.#leases.size + this.#resting.kept;
  }

  inUse(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  async #allocate(request: PortRequest): Promise<readonly ReservedListener[]> {
    const got: Lease[] = [];
    let taken = 0;
    try {
      for (const port of this.#candidates()) {
        const lease = await this.#lease(request, port);
        if (lease) got.push(lease);
        else taken += 1;
        if (got.length === request.count) break;
      }
      if (got.length < request.count) throw this.#exhausted(request, got.length, taken);
      // Not before: the ports of a request that fails go on resting.
      this.#endRest(got.map(({ port }) => port));
      return got.map(({ listener }) => listener);
    } catch (error) {
      await Promise.all(got.map(({ port }) => this.#giveBack(port)));
      throw error;
    }
  }

  /** Leases a port; undefined when another program uses it. */
  async #lease({ uid, host, transport, remote }: PortRequest, port: number): Promise<Lease | undefined> {
    const listener = remote ? new RemoteListener({ host, port }) : new LocalListener({ host, port }, transport);
    try {
      await listener.bind();
    } catch (error) {
      if (S2DSException.is(error) && error.code === 'SCI_PORT_TAKEN') return undefined;
      throw error;
    }
    const lease = { uid, host, port, listener };
    this.#leases.set(port, lease);
    return lease;
  }

  #endRest(ports: readonly number[]): void {
    const rested = ports.flatMap((port) => {
      const since = this.#resting.take(port);
      return since === undefined ? [] : { port, since };
    });
    const [first] = rested.map(({ since }) => since).sort();
    if (first !== undefined) {
      this.onReuse(
        rested.map(({ port }) => port),
        first,
      );
    }
  }

  async #giveBack(port: number): Promise<void> {
    const lease = this.#leases.get(port);
    if (!lease) return;
    await lease.listener.close();
    this.#leases.delete(port);
  }

  get #size(): number {
    return this.range.last - this.range.first + 1;
  }

  /** The free ports in the order in which they are tried. */
  *#candidates(): Generator<number> {
    const { first, last } = this.range;
    for (let tried = 0; tried < this.#size; tried += 1) {
      const port = this.#next;
      this.#next = port >= last ? first : port + 1;
      if (!this.#leases.has(port) && !this.#resting.has(port)) yield port;
    }
    for (const port of this.#resting.available()) if (!this.#leases.has(port)) yield port;
  }

  #exhausted({ count }: PortRequest, got: number, taken: number): S2DSException {
    const leased = this.#leases.size - got;
    const { kept } = this.#resting;
    const failed = kept > 0 ? `, failed streams keep ${kept}` : '';
    return new S2DSException(
      'SCI_PORTS_EXHAUSTED',
      `${formatCount(count, 'port')} requested, but of the ${formatCount(this.#size, 'port')} ${formatPorts(this.range)}, streams lease ${leased}${failed} and other programs use ${taken}.`,
      {
        suggestions: [
          'Release streams that are no longer needed: scistream stream ls, then scistream stream down UID',
          ...(kept > 0 ? ['Release failed streams: scistream stream ls --all, then scistream stream down UID'] : []),
          'Ask the operator to extend the port range: key gateways[].ports',
        ],
      },
    );
  }
}
