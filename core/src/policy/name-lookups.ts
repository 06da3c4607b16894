import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import pLimit from 'p-limit';
import { formatAddress, type Address } from '../contracts/address.js';
import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Action } from '../contracts/policy.js';
import { KeyedLock, within } from '../contracts/wait.js';
import { Refusal } from './refusal.js';

/** Resolves a host name to all its addresses, the preferred one first. Rejects if there are none. */
export type Resolver = (host: string) => Promise<readonly string[]>;

/** Resolves names with the resolver of the system. */
export const systemResolver: Resolver = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** Actions with targets. */
export type Targeting = Extract<Action, { readonly targets: readonly Address[] }>;

/** Distinct host names in one call. */
const MOST_NAMES = 32;
/**
 * Maximum number of parallel lookups. A lookup cannot be aborted and may take a minute without an answer. libuv runs two at
 * a time for the whole process, so more of them would delay requests to issuers.
 */
const MOST_AT_ONCE = 2;
const TIMEOUT_MS = 5_000;

/**
 * Resolves the names of targets. Each caller has one lookup at a time, so that names without an answer do not block other
 * callers. All policies of a process share one object, including those loaded after SIGHUP.
 */
export class NameLookups {
  /** Serializes the lookups of each caller. */
  readonly #turns = new KeyedLock();
  readonly #all = pLimit(MOST_AT_ONCE);

  /** @param timeoutMs Deadline for all names of one call, ms */
  constructor(
    private readonly resolver: Resolver = systemResolver,
    private readonly timeoutMs = TIMEOUT_MS,
  ) {}

  /**
   * Resolves every host name among the targets once, so that a name has the same addresses throughout one call. Starts no
   * lookup after the call has ended.
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

/** The caller. Without authentication, callers are distinguished by address. */
const callerOf = (identity: Identity): string =>
  identity.issuer === 'none' ? `none ${identity.peer ?? ''}` : ownerOf(identity);

const unresolved = (target: Address, how: string, cause?: unknown): SciStreamError =>
  new SciStreamError(
    'SCI_TARGET_UNRESOLVED',
    `Host ${target.host} of target ${formatAddress(target)} cannot be resolved ${how}.`,
    { cause, suggestions: ['Check the name, or use an IP address that the gateway can reach.'] },
  );

const tooMany = (count: number): SciStreamError =>
  new SciStreamError('SCI_TARGETS_INVALID', `The call has ${count} host names, but the limit is ${MOST_NAMES}.`, {
    suggestions: [`Use at most ${MOST_NAMES} host names, and IP addresses for the other targets.`],
  });

/** The gateway would resolve the name again when it connects. */
const probeOfName = (target: Address): Refusal =>
  new Refusal(`A probe needs an IP address, not the name ${formatAddress(target)}.`, {
    suggestion: 'Use the address of the listener on the other gateway, as scistream stream verify --full does.',
  });
