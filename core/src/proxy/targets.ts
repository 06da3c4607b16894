import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import { S2DSException } from '../contracts/errors.js';
import { endpointsOf, isUnspecified } from '../contracts/network.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { within } from '../contracts/wait.js';

const RESOLVE_TIMEOUT_MS = 5_000;

/**
 * Resolves targets into one IP literal per listener: listener i gets target i mod count (protocol.md §2). Looks host
 * names up on this machine.
 * @throws SCI_TARGETS_INVALID for no or too many targets and for a listener of the stream; SCI_ADDRESS_INVALID for an
 * unspecified address; SCI_TARGET_UNRESOLVED
 */
export async function resolveTargets(request: S2DSRequest, targets: readonly Address[]): Promise<readonly Address[]> {
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
  const hosts = new Map<string, Promise<string>>();
  const resolved = await Promise.all(
    targets.map(async (target) => {
      const host = hosts.get(target.host) ?? hostOf(target);
      hosts.set(target.host, host);
      return { host: await host, port: target.port };
    }),
  );
  const unspecified = resolved.find(({ host }) => isUnspecified(host));
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
  const loop = resolved.find((target) => endpointsOf(target).some((key) => own.has(key)));
  if (loop) {
    throw new S2DSException('SCI_TARGETS_INVALID', `Target ${formatAddress(loop)} is the stream's own listener.`, {
      suggestions: ['Give the listen address of the application or of the other gateway.'],
    });
  }
  return request.listeners.flatMap((_, i) => resolved[i % resolved.length] ?? []);
}

async function hostOf({ host, port }: Address): Promise<string> {
  if (isIP(host) !== 0) return host;
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
    return (await within(lookup(host), RESOLVE_TIMEOUT_MS, fail)).address;
  } catch (error) {
    throw S2DSException.is(error) ? error : fail(error);
  }
}
