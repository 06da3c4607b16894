/**
 * The public interface for plugins: the contracts they implement, the base class of proxies, and helpers. Every other
 * entry of the package builds on it. core/api.txt lists the names with their declarations.
 */
export { addressesOf, formatAddress, type Address, type Target } from './contracts/address.js';
export type { Authenticator, Credentials, Identity } from './contracts/authenticator.js';
export {
  exitOf,
  LABELS,
  type Advice,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerSpec,
  type ContainerState,
  type ExecResult,
  type InstanceFiles,
  type Placement,
  type RuntimeCapabilities,
} from './contracts/container-runtime.js';
export { messageOf, quote, S2DSException, SciStreamError, systemCode, type ErrorCode } from './contracts/errors.js';
export { makeDirectory, writeAtomically } from './contracts/files.js';
export { silentLogger, type Logger } from './contracts/logger.js';
export { weaknessOf } from './contracts/trust.js';
export {
  authenticatorProvider,
  definePlugin,
  PLUGIN_API_VERSION,
  proxyProvider,
  runtimeProvider,
  type HostContext,
  type OptionsSchema,
  type PluginContext,
  type PluginDefinition,
  type Provider,
} from './contracts/plugin.js';
export type { S2DS, S2DSCapabilities, S2DSRequest } from './contracts/s2ds.js';
export type {
  ConnectionLimit,
  Failures,
  ListenerStatistics,
  ProbeAnswer,
  S2DSStatus,
  StreamTls,
} from './contracts/stream.js';
export { PROBE_NAME } from './contracts/stream.js';
export { mustSupport } from './proxy/capabilities.js';
export { addressesFrom, localAddressFor } from './proxy/local-address.js';
export { formatBytes, formatDuration, parseDuration } from './contracts/units.js';
export { backOff, poll, retry, within } from './contracts/wait.js';
export { keepaliveOptions } from './proxy/keepalive.js';
export { ProxyContainer } from './proxy/proxy-container.js';
export { loggedRecently } from './proxy/log.js';
export { resolveTargets } from './proxy/targets.js';
export { createRenderer, type Renderer } from './proxy/templates.js';
export type { ProxyDescription, ProxyInstance, ProxyView } from './proxy/view.js';
