import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import pLimit from 'p-limit';
import { formatAddress, type Address } from '../contracts/address.js';
import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Action } from '../contracts/policy.js';
import { KeyedLock, within } from '../contracts/wait.js';
import { Refusal } from './refusal.js';

/** All addresses of a host name, the preferred one first. Rejects when there are none. */
export type Resolver = (host: string) => Promise<readonly string[]>;

/** As the system resolves names. */
export const systemResolver: Resolver = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** What goes somewhere. */
export type Targeting = Extract<Action, { readonly targets: readonly Address[] }>;

/** Distinct host names in one call. */
const MOST_NAMES = 32;
/**
 * Lookups under way at once. The system cannot end one that has begun, which may take a minute where nobody answers, and
 * libuv makes two at a time for the whole process: more would only stand in the way of those that fetch keys of issuers.
 */
const MOST_AT_ONCE = 2;
const TIMEOUT_MS = 5_000;

/**
 * Looks the names of targets up: of each caller one at a time, so that nobody can stop it for everybody else with names
 * that have no answer. One object for all policies of a process, also those that SIGHUP makes.
 */
export class NameLookups {
  /** Of one caller, one after another. */
  readonly #turns = new KeyedLock();
  readonly #all = pLimit(MOST_AT_ONCE);

  /** @param timeoutMs For all names of one call. */
  constructor(
    private readonly resolver: Resolver = systemResolver,
    private readonly timeoutMs = TIMEOUT_MS,
  ) {}

  /**
   * The addresses of every host name among the targets, each looked up once, so that one name means one thing in one call.
   * Nothing is begun any more when the call has ended.
   * @throws SCI_TARGETS_INVALID for more than 32 names; SCI_TARGET_UNRESOLVED; SCI_FORBIDDEN for a name in a probe
   */
  async lookUp(identity: Identity, { kind, targets }: Targeting): Promise<ReadonlyMap<string, readonly string[]>> {
    const found = new Map<string, readonly string[]>();
    const named = targets.filter(({ host }) => isIP(host) === 0);
    const names = [...new Map(named.map((target) => [target.host, target])).values()];
    const [first] = names;
    if (!first) return found;
    if (kind === 'probe') throw probeOfName(first);
    if (names.length > MOST_NAMES) throw tooMany(names.length);
    const call = { over: false };
    const work = this.#turns.run(callerOf(identity), async () => {
      for (const name of names) {
        const addresses = await this.#all(() => (call.over ? undefined : this.#addresses(name)));
        if (!addresses) return;
        found.set(name.host, addresses);
      }
    });
    const late = (): SciStreamError => unresolved(names.find(({ host }) => !found.has(host)) ?? first, 'in time');
    try {
      await within(work, this.timeoutMs, late);
    } finally {
      call.over = true;
    }
    return found;
  }

  async #addresses(target: Address): Promise<readonly string[]> {
    const addresses = await this.resolver(target.host).catch((cause: unknown) => {
      throw unresolved(target, 'here', cause);
    });
    if (addresses.length === 0) throw unresolved(target, 'here');
    return addresses;
  }
}

/** Where nobody has to say who it is, it is the address that counts. */
const callerOf = (identity: Identity): string =>
  identity.issuer === 'none' ? `none ${identity.peer ?? ''}` : ownerOf(identity);

const unresolved = (target: Address, how: string, cause?: unknown): SciStreamError =>
  new SciStreamError(
    'SCI_TARGET_UNRESOLVED',
    `Host ${target.host} of target ${formatAddress(target)} cannot be resolved ${how}.`,
    { cause, suggestions: ['Check the name, or give an IP address that the gateway can reach.'] },
  );

const tooMany = (count: number): SciStreamError =>
  new SciStreamError('SCI_TARGETS_INVALID', `${count} host names are too many for one call.`, {
    suggestions: [`Name at most ${MOST_NAMES} hosts, and give IP addresses for the others.`],
  });

/** The gateway would look it up once more when it connects. */
const probeOfName = (target: Address): Refusal =>
  new Refusal(`A probe goes to an IP address, not to a name such as ${formatAddress(target)}.`, {
    suggestion: 'Give the address that the other gateway has opened for it; scistream stream verify --full does.',
  });
