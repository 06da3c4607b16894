import type { Address, ProxyView, S2DSRequest, StreamTls } from '@scistream/core';
import type { ProxyEnvironment, StreamShape } from '@scistream/core/testing';

/** A stream across two gateways, both in one environment. */
export interface Pair {
  readonly prod: S2DSRequest;
  readonly cons: S2DSRequest;
  /** Address for consumers. */
  readonly address: Address;
}

/** Starts consumer → outbound → inbound → target. @param credentials Without them, a pre-shared key is used. */
export async function startPair(
  env: ProxyEnvironment,
  target: Address,
  credentials: Record<ProxyView['role'], StreamTls> | undefined,
  { uid, ...shape }: StreamShape = {},
): Promise<Pair> {
  const inbound = await env.startTo(target, {
    ...shape,
    ...(uid ? { uid } : {}),
    role: 'inbound',
    tls: credentials?.inbound,
  });
  const { request: cons, address } = await env.startTo(inbound.address, {
    ...shape,
    role: 'outbound',
    tls: credentials?.outbound,
  });
  return { prod: inbound.request, cons, address };
}
