import { definePlugin, PLUGIN_API_VERSION, runtimeProvider } from '@scistream/core';
import { JanusRuntime } from './janus-runtime.js';
import { JanusOptions } from './options.js';

export { JanusOptions } from './options.js';
export { JanusRuntime } from './janus-runtime.js';

/** The runtime `janus`. */
export default definePlugin({
  apiVersion: PLUGIN_API_VERSION,
  providers: [
    runtimeProvider({
      id: 'janus',
      options: JanusOptions,
      create: (host, options) => {
        const runtime = new JanusRuntime(options, host.log);
        host.onClose(() => runtime.close());
        return runtime;
      },
    }),
  ],
});
