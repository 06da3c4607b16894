/** The contracts of SciStream: all that a plugin may import, and what every other part builds on. */
export * from './contracts/address.js';
export * from './contracts/authenticator.js';
export * from './contracts/container-runtime.js';
export * from './contracts/errors.js';
export * from './contracts/logger.js';
export * from './contracts/plugin.js';
export * from './contracts/policy.js';
export * from './contracts/port-allocator.js';
export * from './proxy/proxy-container.js';
export * from './proxy/view.js';
export * from './contracts/s2ds.js';
export * from './contracts/stream.js';
export * from './contracts/stream-store.js';
export * from './proxy/templates.js';
export * from './contracts/units.js';
export * from './contracts/wait.js';
