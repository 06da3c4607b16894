/** Finds, reads, checks and parses the configuration files of S2CS, S2DS and S2UC. */
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
