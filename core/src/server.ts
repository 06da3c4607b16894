/** Control server (S2CS) and data server (S2DS) for the programs that compose, check and start them. */
import 'reflect-metadata';

export type { Daemon, Listening } from './contracts/daemon.js';
export type { Action, Granted } from './contracts/policy.js';
export type { StreamRecord } from './contracts/stream.js';
export { checkDaemonConfig, loadPolicy } from './control/checks.js';
export { CONTROL_SERVER, createProviders, listPlugins, registerServer } from './control/compose.js';
export { readState } from './control/stored-state.js';
export { GATEWAY_DAEMON, registerS2ds } from './gateway/compose.js';
export { tryToStart } from './gateway/trial.js';
export { PluginHost } from './plugins/host.js';
export {
  checkPlugin,
  readPlugin,
  type FoundPlugin,
  type Offer,
  type PluginSource,
  type Providers,
} from './plugins/index.js';
