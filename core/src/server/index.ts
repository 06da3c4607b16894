/** The control server (S2CS) and its gateway, for composition roots. */
import 'reflect-metadata';

export { OwnerPolicy, ownerOf } from '../auth/owner-policy.js';
export { EmbeddedDataServer, type GatewaySettings } from '../data/embedded-data-server.js';
export { GatewayLink, type GatewayFacts } from '../data/gateway-link.js';
export { GatewayPool, type GatewayLoad, type GatewayStatus, type GatewayWish } from '../data/gateway-pool.js';
export { GatewayStore } from '../data/gateway-store.js';
export type { DataServer } from '../data/data-server.js';
export { ProcessRuntime } from '../data/process-runtime.js';
export { RangePortAllocator, type PortRange } from '../data/range-port-allocator.js';
export { RelayContainer, relayOptions, relayProvider } from '../data/relay/relay-container.js';
export { AuditLog, AuditedPolicy, type AuditSettings } from '../policy/audit.js';
export { contains, formatNetwork, parseIp, parseNetwork, parseSources, specialOf } from '../policy/network.js';
export { RulesPolicy, systemResolver, type Placing, type Resolver } from '../policy/rules-policy.js';
export { PluginHost } from '../plugins/host.js';
export * from '../plugins/index.js';
export { LevelStreamStore } from '../store/level-stream-store.js';
export { MemoryStreamStore } from '../store/memory-stream-store.js';
export { StateDatabase } from '../store/state-database.js';
export { VERSION } from '../version.js';
export { readKeyPair } from './certificate.js';
export { BUILT_INS, createProviders, registerServer, requireAuth, type ServerParts } from './compose.js';
export { ControlServer, type ControlServerSettings, type Listening } from './control-server.js';
export { DataServerDaemon } from './data-server-daemon.js';
export { StreamController, type Limits } from './stream-controller.js';
export { parseCredentials } from './stream-credentials.js';
export type { StreamWish } from './stream-wish.js';
export { TOKENS } from './tokens.js';
