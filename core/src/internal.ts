/**
 * Parts of the package for the tests and the benchmark of this repository, in addition to `./server`. Not part of the
 * published package.
 */
export * from './server.js';

export { isHost, isLoopback, parseAddress, parsePort, type Transport } from './contracts/address.js';
export { parseCredentials } from './contracts/credentials.js';
export { ERROR_CODES } from './contracts/errors.js';
export { proxyFor } from './contracts/http-proxy.js';
export {
  contains,
  endpointsOf,
  formatNetwork,
  isUnspecified,
  parseIp,
  parseNetwork,
  parseSources,
  specialOf,
} from './contracts/network.js';
export type { AnyProvider } from './contracts/plugin.js';
export type { Policy, Usage } from './contracts/policy.js';
export type { PortRange, PortRequest, ReservedListener } from './contracts/port-allocator.js';
export type { Protection } from './contracts/trust.js';
export { parseUid, type Role, type StreamEvent, type StreamSpec, type StreamState } from './contracts/stream.js';
export { parseRate } from './contracts/units.js';
export { KeyedLock } from './contracts/wait.js';
export { BUILT_INS, decisionsOf, requireAuth } from './control/compose.js';
export { ControlServer, type ServerListening } from './control/control-server.js';
export { GatewayLink } from './control/gateways/link.js';
export { GatewayPool } from './control/gateways/pool.js';
export { RemoteGateway } from './control/gateways/remote-gateway.js';
export { StreamTimer } from './control/streams/live-stream.js';
export { StreamController } from './control/streams/controller.js';
export { TOKENS } from './control/parts/tokens.js';
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
export { mergeStatus } from './client/status.js';
export { fromTargetsMessage, targetsMessage } from './wire/messages.js';
export { parseRole } from './wire/stream-spec.js';
export { GatewayDaemon } from './gateway/daemon.js';
export { LocalGateway } from './gateway/local-gateway.js';
export { GatewayStore, type GatewayStream } from './gateway/store.js';
export { probeListeners } from './gateway/listener-probe.js';
export { ProbeRuns, probeSockets } from './gateway/probe-runs.js';
export { StreamProbes } from './gateway/probes.js';
export { listenOnSocket } from './gateway/listen.js';
export { Metrics } from './observe/metrics.js';
export { serveMetrics } from './observe/metrics-listener.js';
export { listenOn } from './serving/listen.js';
export { RangePortAllocator } from './gateway/ports.js';
export { checkOptions, findPlugins, importPlugin, Providers, type FoundPlugin } from './plugins/index.js';
export { guard, makeGuarded, S2DS_CALLS, type Author } from './plugins/guard.js';
export { releasingLateCalls } from './plugins/late-calls.js';
export { AuthenticatorChain } from './identity/authenticators.js';
export { checkClaims, identityFrom } from './identity/claims.js';
export { AuditLog } from './policy/audit.js';
export { AuditedPolicy } from './policy/audited-policy.js';
export { AuditedAuthenticator } from './policy/audited-authenticator.js';
export { parseHostPattern } from './policy/host-pattern.js';
export { NameLookups, type Resolver } from './policy/name-lookups.js';
export { OwnerPolicy } from './policy/owner-policy.js';
export { Refusal } from './policy/refusal.js';
export { RulesPolicy, type Placing } from './policy/rules-policy.js';
export { readRules, RULED_ACTIONS } from './policy/schema.js';
export { RelayContainer, relayOptions } from './relay/relay-container.js';
export { ProcessRuntime } from './runtime/process-runtime.js';
export { ENDED_LIMITS, type EndedLimits } from './store/ended.js';
export { LevelStreamStore } from './store/level-stream-store.js';
export { MemoryStreamStore } from './store/memory-stream-store.js';
export { MIGRATIONS } from './store/migrations.js';
export { StateDatabase } from './store/state-database.js';
export { WriteQueue, type Write } from './store/write-queue.js';
export { readKeyPair, selfSigned } from './serving/certificate.js';
export { Connections, type ConnectionLimits } from './serving/connections.js';
export { RateLimiter } from './serving/rate-limiter.js';
export { lockState } from './serving/state-lock.js';
export { s2csSchema } from './config/schemas.js';
