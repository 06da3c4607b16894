import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { addressesOf, formatAddress, targetOf, type Address, type Target } from '../contracts/address.js';
import { S2DSException } from '../contracts/errors.js';
import { endpointsOf, isUnspecified } from '../contracts/network.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { within } from '../contracts/wait.js';

const RESOLVE_TIMEOUT_MS = 5_000;

/**
 * Resolves targets into one per listener, as IP literals: listener i gets target i mod count (protocol.md §2). Looks host
 * names up on this machine. A name with several addresses becomes a target with fallbacks.
 * @throws SCI_TARGETS_INVALID for no or too many targets and for a listener of the stream; SCI_ADDRESS_INVALID for an
 * unspecified address; SCI_TARGET_UNRESOLVED
 */
export async function resolveTargets(request: S2DSRequest, targets: readonly Target[]): Promise<readonly Target[]> {
  if (targets.length === 0 || targets.length > request.listeners.length * 64) {
    throw new S2DSException(
      'SCI_TARGETS_INVALID',
      `${targets.length} targets are not valid for ${request.listeners.length} listeners.`,
      {
        suggestions: ['Give at least one target, ideally one per listener.'],
      },
    );
  }
  // Look each name up once: lookups share the few threads of the libuv pool.
  const lookups = new Map<string, Promise<Hosts>>();
  const resolved = await Promise.all(
    targets.map(async (target) => {
      if (isIP(target.host) !== 0) return target;
      const hosts = lookups.get(target.host) ?? hostsOf(target);
      lookups.set(target.host, hosts);
      return targetOf(await hosts, target.port);
    }),
  );
  const addresses = resolved.flatMap(addressesOf);
  const unspecified = addresses.find(({ host }) => isUnspecified(host));
  if (unspecified) {
    throw new S2DSException(
      'SCI_ADDRESS_INVALID',
      `Target ${formatAddress(unspecified)} is not an address to connect to.`,
      {
        suggestions: ['Give the listen address of the application, for example 10.0.1.5:5001.'],
      },
    );
  }
  const own = new Set(request.listeners.flatMap(({ address }) => endpointsOf(address)));
  const loop = addresses.find((address) => endpointsOf(address).some((key) => own.has(key)));
  if (loop) {
    throw new S2DSException('SCI_TARGETS_INVALID', `Target ${formatAddress(loop)} is the stream's own listener.`, {
      suggestions: ['Give the listen address of the application or of the other gateway.'],
    });
  }
  return request.listeners.flatMap((_, i) => resolved[i % resolved.length] ?? []);
}

/** The addresses of a name. */
type Hosts = readonly [string, ...string[]];

async function hostsOf({ host, port }: Address): Promise<Hosts> {
  const fail = (cause?: unknown): S2DSException =>
    new S2DSException(
      'SCI_TARGET_UNRESOLVED',
      `Host ${host} of target ${host}:${port} cannot be resolved on this gateway.`,
      {
        cause,
        suggestions: ['Correct the host name, or give an IP address that the gateway can reach.'],
      },
    );
  try {
    const found = await within(lookup(host, { all: true }), RESOLVE_TIMEOUT_MS, fail);
    const [first, ...others] = found.map(({ address }) => address);
    if (first === undefined) throw fail();
    return [first, ...others];
  } catch (error) {
    throw S2DSException.is(error) ? error : fail(error);
  }
}
