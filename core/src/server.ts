/** Control server (S2CS) and data server (S2DS) for the programs that compose, check and start them. */
import 'reflect-metadata';

export { BUILT_INS, createProviders, decisionsOf, registerServer, requireAuth } from './control/compose.js';
export { ControlServer } from './control/control-server.js';
export { TOKENS } from './control/parts/tokens.js';
export { parseSources } from './contracts/network.js';
export type { Action, Granted, Policy, Usage } from './contracts/policy.js';
export type { StreamEvent, StreamRecord, StreamSpec } from './contracts/stream.js';
export { VERSION } from './contracts/version.js';
export { GatewayDaemon } from './gateway/daemon.js';
export { GatewayStore } from './gateway/gateway-store.js';
export { LocalGateway } from './gateway/local-gateway.js';
export { PluginHost } from './plugins/host.js';
export {
  checkOptions,
  findPlugins,
  importPlugin,
  readPlugin,
  type FoundPlugin,
  type Offer,
  type PluginSource,
  type Providers,
} from './plugins/index.js';
export { Refusal } from './policy/refusal.js';
export type { Placing } from './policy/rules-policy.js';
export { readKeyPair } from './serving/certificate.js';
export { clientTrust } from './serving/client-certificates.js';
export { LevelStreamStore } from './store/level-stream-store.js';
