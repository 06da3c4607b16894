/** Parts of the plugin for the tests of this repository. Not part of the published package. */
export { countersOf } from './counters.js';
export { oldWorkersIn, progressOf } from './master.js';
export { renderConfig, renderFiles } from './render.js';
export { ask, isRetargeted } from './runtime-socket.js';
