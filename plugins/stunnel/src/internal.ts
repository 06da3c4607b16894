/** Parts of the plugin for the tests of this repository. Not part of the published package. */
export { configState } from './log.js';
export { preSharedKey } from './psk.js';
export { renderConfig } from './stunnel-container.js';
