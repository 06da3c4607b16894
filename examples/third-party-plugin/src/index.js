import { definePlugin, proxyProvider } from '@scistream/core';
import { ForwardContainer } from './forward-container.js';
import { forwardOptions } from './options.js';

/** What the host loads. `providers` has to be what package.json promises under `scistream.provides`. */
export default definePlugin({
  apiVersion: 1,
  providers: [
    proxyProvider({
      id: 'forward',
      options: forwardOptions,
      create: (context, options) => new ForwardContainer(context, options),
    }),
  ],
});
