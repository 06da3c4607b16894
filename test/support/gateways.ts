import { join } from 'node:path';
import { silentLogger } from '@scistream/core';
import { createProviders, GatewayDaemon, LocalGateway } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { leftovers } from './leftovers.js';
import { freeRange } from './ports.js';
import { LAN, WAN } from './server.js';

/** Number of ports of each. */
export const PORTS = 4;

/** A data server that can be stopped and restarted, with its entry for `gateways` of a control server. */
export async function startGateway(name: string, more: { capacity?: number; labels?: string[] } = {}) {
  const directory = await temporaryDirectory();
  const state = join(directory.path, 's2ds');
  const s2ds = `unix:${join(directory.path, 's.sock')}`;
  const settings = { name, wan: WAN, lan: LAN, ports: await freeRange(PORTS), proxy: 'relay', runtime: 'process' };
  const make = (): GatewayDaemon => {
    const providers = createProviders([], { proxies: { relay: { processes: 1 } }, runtimes: {}, plugins: [] });
    const gateway = new LocalGateway(settings, providers, silentLogger, state);
    return new GatewayDaemon({ listen: s2ds, state }, gateway, silentLogger);
  };
  let daemon = make();
  const start = async (): Promise<void> => {
    daemon = make();
    await daemon.start();
  };
  return {
    entry: { ...settings, ...more, s2ds },
    state,
    start,
    stop: () => daemon.stop(),
    leftovers: () => leftovers(state, settings.ports),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await daemon.stop({ release: true });
      await directory.remove();
    },
  };
}

/** Return type of {@link startGateway}. */
export type GatewaySite = Awaited<ReturnType<typeof startGateway>>;
