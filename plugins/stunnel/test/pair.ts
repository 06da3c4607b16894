import type { Address, Role, S2DSRequest, StreamTls } from '@scistream/core';
import { listener, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';

/** A stream across two gateways, both in one environment. */
export interface Pair {
  readonly prod: S2DSRequest;
  readonly cons: S2DSRequest;
  /** Where the consumer connects. */
  readonly address: Address;
}

/** Starts one side of a stream. */
export async function startSide(
  env: ProxyEnvironment,
  role: Role,
  tls: StreamTls | undefined,
  shape: StreamShape = {},
): Promise<S2DSRequest> {
  const request = { ...(await env.reserve(shape)), role, ...(tls ? { tls } : {}) };
  await env.s2ds.start(request);
  return request;
}

/** Consumer → outbound → inbound → target. @param credentials Absent: by a shared key. */
export async function startPair(
  env: ProxyEnvironment,
  target: Address,
  credentials: Record<Role, StreamTls> | undefined,
  shape: StreamShape = {},
): Promise<Pair> {
  const { uid, ...rest } = shape;
  const prod = await startSide(env, 'inbound', credentials?.inbound, { ...rest, ...(uid ? { uid } : {}) });
  await env.s2ds.updateTargets(prod.uid, [target]);
  const cons = await startSide(env, 'outbound', credentials?.outbound, rest);
  await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
  return { prod, cons, address: listener(cons) };
}
