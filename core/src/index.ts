/** The contracts of SciStream: all that a plugin may import, and what every other part builds on. */
export * from './address.js';
export * from './authenticator.js';
export * from './container-runtime.js';
export * from './errors.js';
export * from './logger.js';
export * from './plugin.js';
export * from './policy.js';
export * from './port-allocator.js';
export * from './proxy-container.js';
export * from './proxy-view.js';
export * from './s2ds.js';
export * from './stream-store.js';
export * from './templates.js';
export * from './units.js';
export * from './wait.js';
