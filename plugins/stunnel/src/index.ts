import { definePlugin, PLUGIN_API_VERSION, proxyProvider } from '@scistream/core';
import { StunnelOptions } from './options.js';
import { StunnelContainer } from './stunnel-container.js';

export { StunnelOptions } from './options.js';
export { StunnelContainer } from './stunnel-container.js';

/** The proxy `stunnel`. */
export default definePlugin({
  apiVersion: PLUGIN_API_VERSION,
  providers: [
    proxyProvider({
      id: 'stunnel',
      options: StunnelOptions,
      create: (context, options) => new StunnelContainer(context, options),
    }),
  ],
});
