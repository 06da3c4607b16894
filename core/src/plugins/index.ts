/** Finds, checks and loads plugins. For hosts only, not for plugins. */
export { checkPlugin, findPlugins, importPlugin, type FoundPlugin, type PluginSource } from './loader.js';
export { readPlugin, type PluginPackage } from './manifest.js';
export { checkOptions, type Options } from './options.js';
export { HOST_RUNTIME, Providers, type BuiltIn, type Offer, type ProvidersInit, type Ready } from './registry.js';
