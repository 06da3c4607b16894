/** Finds, reads, checks and parses the configuration files of S2CS, S2DS and S2UC, and the values in them. */
export { isLoopback, parseAddress, parsePort } from '../contracts/address.js';
export { isIdentityName } from '../contracts/authenticator.js';
export { parseSources } from '../contracts/network.js';
export { parseRate } from '../contracts/units.js';
export { parseFingerprint, parsePortRange } from './fields.js';
export { SETTINGS, variableOf, type ConfigValue, type Origin, type Setting } from './layers.js';
export { loadConfig, loadStream, readDocument, type LoadedConfig, type LoadOptions } from './load.js';
export type {
  ConfigKind,
  Configs,
  FacilityConfig,
  GatewayConfig,
  S2csConfig,
  S2dsConfig,
  S2ucConfig,
  StreamConfig,
} from './schemas.js';
export { configKind, nearest, toJsonSchema } from './shape.js';
