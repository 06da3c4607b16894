import { definePlugin, PLUGIN_API_VERSION, proxyProvider } from '@scistream/core';
import { HaproxyContainer } from './haproxy-container.js';
import { HaproxyOptions } from './options.js';

export { HaproxyContainer } from './haproxy-container.js';
export { HaproxyOptions } from './options.js';

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
