import type { Address, ContainerRuntime, Role, StreamTls } from '@scistream/core';
import { listener, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';

/** Starts one side of an encrypted stream. */
export async function startSide(
  env: ProxyEnvironment,
  role: Role,
  tls: StreamTls,
  shape: StreamShape = {},
): Promise<{ uid: string; address: Address }> {
  const request = { ...(await env.reserve(shape)), role, tls };
  await env.s2ds.start(request);
  return { uid: request.uid, address: listener(request) };
}

/** The same runtime, but its unix sockets cannot be reached, as where programs run on another machine. */
export function unreachable(runtime: ContainerRuntime, inheritSockets: boolean): ContainerRuntime {
  const supports = { ...runtime.supports, dial: false, inheritSockets };
  return new Proxy(runtime, {
    get(target, name) {
      if (name === 'supports') return supports;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
