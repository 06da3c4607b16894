import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, quote, SciStreamError, systemCode } from '../../contracts/errors.js';
import { writeAtomically } from '../../contracts/files.js';
import type { Gateway, GatewayDescription, GatewayStatus } from '../../contracts/gateway.js';
import { formatRate } from '../../contracts/units.js';
import { KeyedLock } from '../../contracts/wait.js';
import type { GatewayFacts, GatewayLink } from './link.js';

/** What one stream takes of its gateway. */
export interface GatewayLoad {
  readonly uid: string;
  readonly gateway: string;
  readonly ports: number;
  /** 0 when none were asked for. */
  readonly bitsPerSecond: number;
  /** ISO 8601 UTC; it may end before. */
  readonly expiresAt: string;
}

/** What a new stream needs of a gateway. */
export type GatewayWish = Pick<GatewayLoad, 'gateway' | 'ports' | 'bitsPerSecond'>;

/** Where a new stream goes. */
export interface Placement {
  readonly gateway: string;
  /**
   * Why it cannot go there: SCI_S2DS_UNREACHABLE when what could take it is down, SCI_NO_RESOURCE. Only to be told to a
   * caller who may have a stream there.
   */
  readonly refusal?: SciStreamError;
}

/** A gateway and what is free on it. */
interface Room {
  readonly link: GatewayLink;
  readonly loads: readonly GatewayLoad[];
  /** bit/s, Infinity without a capacity. */
  readonly free: number;
  readonly freePorts: number;
}

const storedSchema = z.strictObject({ drained: z.array(z.string()) });

/** The gateways of one control server: which there are, what they carry, and where a new stream goes. */
export class GatewayPool {
  readonly #drained = new Set<string>();
  readonly #lock = new KeyedLock();
  readonly #file: string;
  #loads: () => readonly GatewayLoad[] = () => [];

  /** @param links At least one, names distinct. @param state Directory of the control server. */
  constructor(
    private readonly links: readonly GatewayLink[],
    state: string,
  ) {
    this.#file = join(state, 'gateways.json');
  }

  /**
   * Called once, first. @param inUse Names of the gateways that have streams.
   * @throws SCI_CONFIG_INVALID when one of those is gone, SCI_STATE_DAMAGED, and what opening a gateway raises
   */
  async open(inUse: readonly string[]): Promise<void> {
    for (const name of inUse) this.of(name);
    for (const name of await this.#readDrained()) this.#drained.add(name);
    // The embedded one first: it makes the id by which daemons know this control server.
    for (const link of this.links.filter(({ remote }) => !remote)) await link.open();
    await Promise.all(this.links.filter(({ remote }) => remote).map((link) => link.open()));
  }

  /** Called once, second; gateways release what is not in `loads`. @param loads Tells all streams of the control server. */
  async begin(loads: () => readonly GatewayLoad[]): Promise<void> {
    this.#loads = loads;
    await Promise.all(this.links.map((link) => link.begin(() => this.#loadsOf(link).map(({ uid }) => uid))));
  }

  /**
   * Where the streams of a gateway are commanded. Where there is only one, its name does not matter.
   * @throws SCI_CONFIG_INVALID when there is none of that name
   */
  of(name: string): Gateway {
    const link = this.#link(name);
    if (link) return link.gateway;
    throw new SciStreamError(
      'SCI_CONFIG_INVALID',
      `gateways: there are streams on gateway ${name}, which is missing.`,
      {
        suggestions: [`Put ${name} back; to remove a gateway, drain it first and let its streams end.`],
      },
    );
  }

  /** The same, for what is of no use later. @throws why it is down, at once */
  reachable(name: string): Gateway {
    const error = this.#link(name)?.error;
    if (error) throw error;
    return this.of(name);
  }

  /** Has a gateway that is a daemon told once more which streams it has to keep. */
  recheck(name: string): void {
    this.#link(name)?.recheck();
  }

  /** What a gateway told of itself last. @throws SCI_CONFIG_INVALID when there is none of that name */
  async describe(name: string): Promise<GatewayDescription> {
    return this.#find(name)?.description ?? (await this.of(name).describe());
  }

  /** Checks which gateways a client asks for: a name, a label, or empty for any. @throws SCI_NAME_INVALID */
  parse(wanted: string): string {
    if (this.#meant(wanted).length > 0) return wanted;
    throw this.#unknown(wanted, ({ name, labels = [] }) => [name, ...labels]);
  }

  /**
   * Where a new stream goes: of the gateways it asks for to the one with the most free bandwidth, and of several to that
   * with the most free ports. Ports are counted, not taken: when too few are left everywhere the gateway will say so.
   */
  place(wish: GatewayWish): Placement {
    const rooms = this.#meant(wish.gateway).map((link) => this.#room(link));
    const fits = (room: Room): boolean => this.#obstacle(room, wish) === undefined;
    const [best] = rooms.toSorted(
      (a, b) =>
        Number(fits(b)) - Number(fits(a)) ||
        Number(b.freePorts >= wish.ports) - Number(a.freePorts >= wish.ports) ||
        compare(b.free, a.free) ||
        b.freePorts - a.freePorts,
    );
    const gateway = best?.link.facts.name ?? wish.gateway;
    return best && fits(best) ? { gateway } : { gateway, refusal: this.#noRoom(rooms, wish) };
  }

  /** Whether a gateway was down when it was last spoken to. */
  get degraded(): boolean {
    return this.links.some(({ error }) => error !== undefined);
  }

  /** All gateways in the order of the configuration. */
  async overview(): Promise<readonly GatewayStatus[]> {
    return await Promise.all(this.links.map((link) => this.#status(link)));
  }

  /**
   * Lets a gateway take no new streams, or take them again; those it has live on. Survives a restart.
   * @throws SCI_NAME_INVALID, SCI_STATE_WRITE (and then nothing has changed)
   */
  async drain(name: string, drained: boolean): Promise<GatewayStatus> {
    const link = this.#find(name);
    if (!link) throw this.#unknown(name, (facts) => [facts.name]);
    await this.#lock.run('', async () => {
      const next = [...this.#drained].filter((one) => one !== name).concat(drained ? [name] : []);
      await this.#writeDrained(next);
      this.#drained[drained ? 'add' : 'delete'](name);
    });
    return await this.#status(link);
  }

  /** Lets go of all gateways. Called once, last. */
  async close(): Promise<void> {
    await Promise.all(this.links.map((link) => link.close()));
  }

  /** The gateway of that name, those with that label, or all. */
  #meant(wanted: string): readonly GatewayLink[] {
    return this.links.filter(({ facts: { name, labels = [] } }) => [name, ...labels, ''].includes(wanted));
  }

  #unknown(name: string, known: (facts: GatewayFacts) => readonly string[]): SciStreamError {
    const names = new Set(this.links.flatMap(({ facts }) => known(facts)));
    return new SciStreamError('SCI_NAME_INVALID', `There is no gateway ${quote(name)} here.`, {
      suggestions: [`Use ${[...names].join(' or ')}.`],
    });
  }

  /** Where there is only one, its name does not matter. */
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

  /** Why a gateway cannot take a stream, in words. */
  #obstacle({ link, free }: Room, { bitsPerSecond }: GatewayWish): string | undefined {
    const { name, capacity } = link.facts;
    if (link.error) return `${name} is down`;
    if (this.#drained.has(name)) return `${name} is drained`;
    // A stream that asks for no bandwidth fits in, however full it is.
    if (bitsPerSecond <= 0 || bitsPerSecond <= free) return undefined;
    return `${name} has ${formatRate(Math.max(0, free))} of ${formatRate(capacity ?? 0)} free`;
  }

  #noRoom(rooms: readonly Room[], wish: GatewayWish): SciStreamError {
    const down = rooms.find(({ link }) => link.error)?.link.error;
    if (down && rooms.every(({ link }) => link.error)) return down;
    const { bitsPerSecond } = wish;
    const [first] = rooms
      .filter(({ link }) => !link.error && !this.#drained.has(link.facts.name))
      .flatMap(({ loads }) => loads.filter((load) => load.bitsPerSecond > 0))
      .map(({ expiresAt }) => expiresAt)
      .sort();
    const wanted = bitsPerSecond > 0 ? `${formatRate(bitsPerSecond)} cannot be had` : 'No gateway takes new streams';
    const reasons = rooms.map((room) => this.#obstacle(room, wish) ?? room.link.facts.name).join(', ');
    const until = first ? ` The first stream with bandwidth ends at ${first} at the latest.` : '';
    return new SciStreamError('SCI_NO_RESOURCE', `${wanted}: ${reasons}.${until}`, {
      suggestions: [
        ...(bitsPerSecond > 0 ? ['Ask for less, or try again later.'] : []),
        'The operator can see all gateways: scistream gateway ls --s2cs SERVER',
      ],
    });
  }

  async #status(link: GatewayLink): Promise<GatewayStatus> {
    await link.refresh();
    const { name, capacity = 0, labels = [] } = link.facts;
    const loads = this.#loadsOf(link);
    return {
      description: link.description ?? { name },
      drained: this.#drained.has(name),
      labels,
      streams: loads.length,
      portsTotal: sizeOf(link.description),
      capacity,
      capacityInUse: sum(loads, 'bitsPerSecond'),
      ...(link.error ? { error: link.error } : {}),
    };
  }

  async #readDrained(): Promise<readonly string[]> {
    try {
      return storedSchema.parse(JSON.parse(await readFile(this.#file, 'utf8'))).drained;
    } catch (cause) {
      if (systemCode(cause) === 'ENOENT') return [];
      throw new SciStreamError('SCI_STATE_DAMAGED', `Cannot read ${this.#file}, which says what is drained.`, {
        cause,
        suggestions: [`Remove it and drain again: rm ${this.#file}`],
      });
    }
  }

  async #writeDrained(drained: readonly string[]): Promise<void> {
    try {
      await writeAtomically(this.#file, JSON.stringify({ drained }));
    } catch (cause) {
      throw new SciStreamError('SCI_STATE_WRITE', `Cannot write ${this.#file}: ${messageOf(cause)}.`, {
        cause,
        suggestions: ['Free some space on the disk that holds the key state, and see that it can be written.'],
      });
    }
  }
}

/** Infinity minus itself is no number. */
const compare = (a: number, b: number): number => (a === b ? 0 : a - b);

const sum = (loads: readonly GatewayLoad[], key: 'ports' | 'bitsPerSecond'): number =>
  loads.reduce((total, load) => total + load[key], 0);

/** How many ports `first-last` is; 0 for a gateway that was never up. */
function sizeOf(description: GatewayDescription | undefined): number {
  const [first, last] = (description?.ports ?? '').split('-').map(Number);
  return first !== undefined && last !== undefined ? last - first + 1 : 0;
}
