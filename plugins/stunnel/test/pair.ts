import type { Address, Role, StreamRequest, StreamTls } from '@scistream/core';
import { listener, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';

/** A stream across two gateways, both in one environment. */
export interface Pair {
  readonly prod: StreamRequest;
  readonly cons: StreamRequest;
  /** Where the consumer connects. */
  readonly address: Address;
}

/** Starts one side of a stream. */
export async function startSide(
  env: ProxyEnvironment,
  role: Role,
  tls: StreamTls | undefined,
  shape: StreamShape = {},
): Promise<StreamRequest> {
  const request = { ...(await env.reserve(shape)), role, ...(tls ? { tls } : {}) };
  await env.s2ds.start(request);
  return request;
}

/** Consumer → CONS → PROD → target. @param credentials Absent: by a shared key. */
export async function startPair(
  env: ProxyEnvironment,
  target: Address,
  credentials: Record<Role, StreamTls> | undefined,
  shape: StreamShape = {},
): Promise<Pair> {
  const { uid, ...rest } = shape;
  const prod = await startSide(env, 'PROD', credentials?.PROD, { ...rest, ...(uid ? { uid } : {}) });
  await env.s2ds.updateTargets(prod.uid, [target]);
  const cons = await startSide(env, 'CONS', credentials?.CONS, rest);
  await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
  return { prod, cons, address: listener(cons) };
}
