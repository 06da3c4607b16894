import { definePlugin, PLUGIN_API_VERSION, proxyProvider } from '@scistream/core';
import { NginxContainer } from './nginx-container.js';
import { NginxOptions } from './options.js';

export { NginxContainer } from './nginx-container.js';
export { NginxOptions } from './options.js';

/** The proxy `nginx`. */
export default definePlugin({
  apiVersion: PLUGIN_API_VERSION,
  providers: [
    proxyProvider({
      id: 'nginx',
      options: NginxOptions,
      create: (context, options) => new NginxContainer(context, options),
    }),
  ],
});
