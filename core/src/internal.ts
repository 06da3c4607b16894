/** Parts of the servers for the tests and the benchmark of this repository. Not part of the published package. */
export * from './server.js';

export { isHost } from './contracts/address.js';
export { parseCredentials } from './contracts/credentials.js';
export { contains, formatNetwork, parseIp, parseNetwork, specialOf } from './contracts/network.js';
export type { AnyProvider } from './contracts/plugin.js';
export type { PortRange, PortRequest } from './contracts/port-allocator.js';
export { parseUid, type StreamState } from './contracts/stream.js';
export { KeyedLock } from './contracts/wait.js';
export type { Listening } from './control/control-server.js';
export { GatewayLink } from './control/gateways/link.js';
export { GatewayPool } from './control/gateways/pool.js';
export { RemoteGateway } from './control/gateways/remote-gateway.js';
export { StreamTimer } from './control/streams/live-stream.js';
export { StreamController } from './control/streams/controller.js';
export { RateLimiter } from './control/door/rate-limiter.js';
export { parseName, parseRequest } from './control/door/request.js';
export {
  ACTIONS,
  EVENTS,
  LIFE,
  next,
  STATES,
  type Cell,
  type LifeEvent,
  type LifeTable,
} from './control/streams/life.js';
export { parseRole } from './wire/stream-spec.js';
export { listenOn, listenOnSocket } from './gateway/listen.js';
export type { GatewayStream } from './gateway/store.js';
export { RangePortAllocator } from './gateway/ports.js';
export { Providers } from './plugins/index.js';
export { AuditLog, AuditedPolicy } from './policy/audit.js';
export { AuditedAuthenticator } from './policy/audited-authenticator.js';
export { parseHostPattern } from './policy/host-pattern.js';
export { NameLookups, type Resolver } from './policy/name-lookups.js';
export { OwnerPolicy } from './policy/owner-policy.js';
export { RulesPolicy } from './policy/rules-policy.js';
export { readRules, RULED_ACTIONS } from './policy/schema.js';
export { RelayContainer, relayOptions } from './relay/relay-container.js';
export { ProcessRuntime } from './runtime/process-runtime.js';
export { MemoryStreamStore } from './store/memory-stream-store.js';
export { MIGRATIONS } from './store/migrations.js';
export { StateDatabase } from './store/state-database.js';
export { WriteQueue, type Write } from './store/write-queue.js';
export { lockState } from './serving/state-lock.js';
export { s2csSchema } from './config/schemas.js';
