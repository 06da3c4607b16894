import { definePlugin, proxyProvider } from '@scistream/core';
import { ForwardContainer } from './forward-container.js';
import { forwardOptions } from './options.js';

/** The export that the host loads. `providers` must match `scistream.provides` in package.json. */
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
