/** Configuration files of S2CS, S2DS and S2UC: found, read, checked and parsed into typed values. */
export { parseFingerprint, parsePortRange } from './fields.js';
export { SETTINGS, variableOf, type ConfigValue, type Origin, type Setting } from './layers.js';
export { loadConfig, loadStream, readDocument, SEARCH_PLACES, type LoadedConfig, type LoadOptions } from './load.js';
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
