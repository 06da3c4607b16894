import { definePlugin, PLUGIN_API_VERSION, proxyProvider } from '@scistream/core';
import { HaproxyContainer } from './haproxy-container.js';
import { HaproxyOptions } from './options.js';

export { countersOf } from './counters.js';
export { HaproxyContainer } from './haproxy-container.js';
export { progressOf } from './master.js';
export { HaproxyOptions } from './options.js';
export { renderConfig, renderFiles } from './render.js';
export { ask, isRetargeted } from './runtime-socket.js';

/** The proxy `haproxy`. */
export default definePlugin({
  apiVersion: PLUGIN_API_VERSION,
  providers: [
    proxyProvider({
      id: 'haproxy',
      options: HaproxyOptions,
      create: (context, options) => new HaproxyContainer(context, options),
    }),
  ],
});
