/** Parts of the plugin for the tests of this repository. Not part of the published package. */
export { renderConfig } from './nginx-container.js';
export { drainingIn, readLog, reloadState } from './worker-log.js';
