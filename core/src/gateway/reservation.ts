import type { Reservation } from '../contracts/gateway.js';
import { proxyName } from '../contracts/stream.js';
import { mustSupport } from '../proxy/capabilities.js';
import { addressesOf } from './addresses.js';
import { advertised, acceptedFrom, type GatewayStream } from './store.js';
import { Stream, type GatewayParts } from './stream.js';

type Request = Pick<GatewayStream, 'spec' | 'tls'>;

/** Reserves a stream whose uid is free, as `Gateway.reserve`: chooses its proxy, leases its ports, and stores its record. */
export async function reserveStream(parts: GatewayParts, uid: string, request: Request): Promise<Stream> {
  const { settings, providers, plugins, ports, store } = parts;
  const { spec } = request;
  const found = providers.resolve(proxyName(spec, settings.proxy), settings.runtime, spec.runtime);
  const s2ds = await plugins.s2ds(found.proxy, found.runtime);
  const runtime = await plugins.runtime(found.runtime);
  mustSupport(found.proxy, s2ds.supports, request);
  const placement = await runtime.place?.(uid);
  const { wan, lan } = placement ?? settings;
  const host = spec.role === 'inbound' ? wan : lan;
  const { transport, connections: count } = spec;
  // An earlier stream with this uid, also of another owner, may have failed.
  await store.putPorts(ports.free(uid));
  const reserved = await ports.allocate({ uid, host, transport, count, remote: placement !== undefined });
  const listeners = reserved.map(({ address }) => address);
  // The addresses of the settings belong to this host, not to a node that the runtime chose.
  const where = placement ? { node: placement.node } : addressesOf(settings, spec.role, s2ds.supports);
  const sources = spec.sources ?? (s2ds.supports.sources ? spec.peerSources : undefined);
  const own = { ...found, ...providers.packages(found), ...(sources && { sources }) };
  const record: GatewayStream = { ...request, ...own, listeners, ...where, state: 'reserved', targets: [] };
  await store.put(uid, record).catch(async (error: unknown) => {
    await ports.release(uid);
    throw error;
  });
  return new Stream(parts, { uid, s2ds, listeners: reserved }, record);
}

/** The answer to the request for a reserved stream. */
export function reservationOf(gateway: string, { record, s2ds }: Stream): Reservation {
  const { proxy, runtime } = record;
  const rateEnforced = s2ds.supports.rateLimit;
  return { gateway, proxy, runtime, listeners: advertised(record), ...acceptedFrom(record), rateEnforced };
}
