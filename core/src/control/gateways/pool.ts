import { quote, SciStreamError } from '../../contracts/errors.js';
import type { Gateway, GatewayDescription, GatewayStatus } from '../../contracts/gateway.js';
import { formatRate } from '../../contracts/units.js';
import { Drains } from './drains.js';
import type { GatewayFacts, GatewayLink } from './link.js';

/** What one stream takes on its gateway. */
export interface GatewayLoad {
  readonly uid: string;
  readonly gateway: string;
  readonly ports: number;
  /** Requested rate; 0 if none. */
  readonly bitsPerSecond: number;
  /** ISO 8601 UTC. The stream may end before. */
  readonly expiresAt: string;
}

/** What a new stream needs on a gateway. `gateway` is a name, a label, or empty for any gateway. */
export type PlacementRequest = Pick<GatewayLoad, 'gateway' | 'ports' | 'bitsPerSecond'>;

/** The gateway for a new stream. */
export interface Placement {
  readonly gateway: string;
  /**
   * Why the stream cannot go there: SCI_S2DS_UNREACHABLE if all eligible gateways are down, SCI_NO_RESOURCE. Returned only
   * to callers that the policy allows to have a stream there.
   */
  readonly refusal?: SciStreamError;
}

/** A gateway and its free capacity. */
interface Room {
  readonly link: GatewayLink;
  readonly loads: readonly GatewayLoad[];
  /** bit/s; Infinity if the gateway has no `capacity`. */
  readonly free: number;
  readonly freePorts: number;
}

/** The gateways of one control server: their state, their load, and the placement of new streams. */
export class GatewayPool {
  readonly #drains: Drains;
  #loads: () => readonly GatewayLoad[] = () => [];

  /** @param links At least one, names distinct. @param state Directory of the control server. */
  constructor(
    private readonly links: readonly GatewayLink[],
    state: string,
  ) {
    this.#drains = new Drains(state);
  }

  /**
   * Called once, first.
   * @param inUse Names of the gateways that have streams.
   * @throws SCI_CONFIG_INVALID if one of those is not configured, SCI_STATE_DAMAGED, and what opening a gateway raises
   */
  async open(inUse: readonly string[]): Promise<void> {
    for (const name of inUse) this.of(name);
    await this.#drains.open();
    // The gateway in this process first: it creates the id that identifies this control server to daemons.
    for (const link of this.links.filter(({ remote }) => !remote)) await link.open();
    await Promise.all(this.links.filter(({ remote }) => remote).map((link) => link.open()));
  }

  /**
   * Called once, second. Gateways release streams that are not in `loads`.
   * @param loads Returns the load of all streams of the control server.
   */
  async begin(loads: () => readonly GatewayLoad[]): Promise<void> {
    this.#loads = loads;
    await Promise.all(this.links.map((link) => link.begin(() => this.#loadsOf(link).map(({ uid }) => uid))));
  }

  /**
   * The gateway of that name. A single gateway is used whatever its name is.
   * @throws SCI_CONFIG_INVALID if no gateway has that name
   */
  of(name: string): Gateway {
    const link = this.#link(name);
    if (link) return link.gateway;
    throw new SciStreamError('SCI_CONFIG_INVALID', `gateways: gateway ${name} is missing but has streams.`, {
      suggestions: [`Add ${name} again. Before you remove a gateway, drain it and wait until its streams have ended.`],
    });
  }

  /** The same, for calls that are not worth waiting for. @throws Immediately why the gateway is down */
  reachable(name: string): Gateway {
    const error = this.#link(name)?.error;
    if (error) throw error;
    return this.of(name);
  }

  /** Frees the ports that a failed stream keeps. Never rejects. */
  async freePorts({ uid, gateway }: Pick<GatewayLoad, 'uid' | 'gateway'>): Promise<void> {
    await this.#link(gateway)?.freePorts(uid);
  }

  /** Tells a gateway daemon again which streams to keep. */
  recheck(name: string): void {
    this.#link(name)?.recheck();
  }

  /** The latest description of a gateway. @throws SCI_CONFIG_INVALID if no gateway has that name */
  async describe(name: string): Promise<GatewayDescription> {
    return this.#find(name)?.description ?? (await this.of(name).describe());
  }

  /** Number of ports of all gateways that were up. */
  get ports(): number {
    return this.links.reduce((total, { description }) => total + sizeOf(description), 0);
  }

  /** The latest descriptions of all gateways that have been up. */
  get descriptions(): readonly GatewayDescription[] {
    return this.links.flatMap(({ description }) => description ?? []);
  }

  /** Checks the gateway that a client requests: a name, a label, or empty for any. @throws SCI_NAME_INVALID */
  parse(wanted: string): string {
    if (this.#meant(wanted).length > 0) return wanted;
    throw this.#unknown(wanted, ({ name, labels = [] }) => [name, ...labels]);
  }

  /**
   * Chooses a gateway for a new stream: of the requested ones the one with the most free bandwidth, then the one with the
   * most free ports. Ports are counted, not reserved: if all gateways have too few, `reserve` fails there.
   */
  place(request: PlacementRequest): Placement {
    const rooms = this.#meant(request.gateway).map((link) => this.#room(link));
    const fits = (room: Room): boolean => this.#obstacle(room, request) === undefined;
    const [best] = rooms.toSorted(
      (a, b) =>
        Number(fits(b)) - Number(fits(a)) ||
        Number(b.freePorts >= request.ports) - Number(a.freePorts >= request.ports) ||
        compare(b.free, a.free) ||
        b.freePorts - a.freePorts,
    );
    const gateway = best?.link.facts.name ?? request.gateway;
    return best && fits(best) ? { gateway } : { gateway, refusal: this.#noRoom(rooms, request) };
  }

  /** Whether a gateway is down. */
  get degraded(): boolean {
    return this.links.some(({ error }) => error !== undefined);
  }

  /** All gateways in the order of the configuration. */
  async overview(): Promise<readonly GatewayStatus[]> {
    return await Promise.all(this.links.map((link) => this.#status(link)));
  }

  /**
   * Drains a gateway, so that no new streams are placed on it, or ends that. Its streams keep running. Survives a restart.
   * @param reason As `parseReason` returns it. Empty: the reason of an earlier call remains
   * @throws SCI_NAME_INVALID, SCI_STATE_WRITE; nothing has changed then
   */
  async drain(name: string, drained: boolean, reason = ''): Promise<GatewayStatus> {
    const link = this.#find(name);
    if (!link) throw this.#unknown(name, (facts) => [facts.name]);
    await this.#drains.set(name, drained, reason);
    return await this.#status(link);
  }

  /** Disconnects from all gateways. Called once, last. */
  async close(): Promise<void> {
    await Promise.all(this.links.map((link) => link.close()));
  }

  /** The gateway of that name, those with that label, or all. */
  #meant(wanted: string): readonly GatewayLink[] {
    return this.links.filter(({ facts: { name, labels = [] } }) => [name, ...labels, ''].includes(wanted));
  }

  #unknown(name: string, known: (facts: GatewayFacts) => readonly string[]): SciStreamError {
    const names = new Set(this.links.flatMap(({ facts }) => known(facts)));
    return new SciStreamError('SCI_NAME_INVALID', `No gateway has the name or label ${quote(name)}.`, {
      suggestions: [`Use ${[...names].join(' or ')}.`],
    });
  }

  /** A single gateway is used whatever its name is. */
  #link(name: string): GatewayLink | undefined {
    return this.links.length === 1 ? this.links[0] : this.#find(name);
  }

  #find(name: string): GatewayLink | undefined {
    return this.links.find(({ facts }) => facts.name === name);
  }

  #loadsOf(link: GatewayLink): readonly GatewayLoad[] {
    return this.#loads().filter(({ gateway }) => this.links.length === 1 || gateway === link.facts.name);
  }

  #room(link: GatewayLink): Room {
    const loads = this.#loadsOf(link);
    const { capacity = Number.POSITIVE_INFINITY } = link.facts;
    const freePorts = sizeOf(link.description) - sum(loads, 'ports');
    return { link, loads, free: capacity - sum(loads, 'bitsPerSecond'), freePorts };
  }

  /** Why a gateway cannot take a stream, as text. */
  #obstacle({ link, free }: Room, { bitsPerSecond }: PlacementRequest): string | undefined {
    const { name, capacity } = link.facts;
    if (link.error) return `${name} is down`;
    const drain = this.#drains.of(name);
    if (drain) return `${name} is drained${drain.reason ? ` (${drain.reason})` : ''}`;
    // A stream without a rate fits on any gateway.
    if (bitsPerSecond <= 0 || bitsPerSecond <= free) return undefined;
    return `${name} has ${formatRate(Math.max(0, free))} of ${formatRate(capacity ?? 0)} free`;
  }

  #noRoom(rooms: readonly Room[], request: PlacementRequest): SciStreamError {
    const down = rooms.find(({ link }) => link.error)?.link.error;
    if (down && rooms.every(({ link }) => link.error)) return down;
    const { bitsPerSecond } = request;
    const [first] = rooms
      .filter(({ link }) => !link.error && !this.#drains.of(link.facts.name))
      .flatMap(({ loads }) => loads.filter((load) => load.bitsPerSecond > 0))
      .map(({ expiresAt }) => expiresAt)
      .sort();
    const wanted =
      bitsPerSecond > 0
        ? `No eligible gateway has ${formatRate(bitsPerSecond)} available`
        : 'No eligible gateway accepts new streams';
    const reasons = rooms.map((room) => this.#obstacle(room, request) ?? room.link.facts.name).join(', ');
    const until = first ? ` The first stream with a reserved rate ends at ${first} at the latest.` : '';
    return new SciStreamError('SCI_NO_RESOURCE', `${wanted}: ${reasons}.${until}`, {
      suggestions: [
        ...(bitsPerSecond > 0 ? ['Request a lower rate, or retry later.'] : []),
        'List the gateways: scistream gateway ls --s2cs SERVER',
      ],
    });
  }

  async #status(link: GatewayLink): Promise<GatewayStatus> {
    await link.refresh();
    const { name, capacity = 0, labels = [] } = link.facts;
    const loads = this.#loadsOf(link);
    return {
      description: link.description ?? { name },
      drain: this.#drains.of(name),
      labels,
      streams: loads.length,
      portsTotal: sizeOf(link.description),
      capacity,
      capacityInUse: sum(loads, 'bitsPerSecond'),
      ...(link.error ? { error: link.error } : {}),
    };
  }
}

/** Compares without a subtraction: Infinity minus Infinity is NaN. */
const compare = (a: number, b: number): number => (a === b ? 0 : a - b);

const sum = (loads: readonly GatewayLoad[], key: 'ports' | 'bitsPerSecond'): number =>
  loads.reduce((total, load) => total + load[key], 0);

/** Number of ports in `first-last`; 0 for a gateway that was never up. */
function sizeOf(description: GatewayDescription | undefined): number {
  const [first, last] = (description?.ports ?? '').split('-').map(Number);
  return first !== undefined && last !== undefined ? last - first + 1 : 0;
}
