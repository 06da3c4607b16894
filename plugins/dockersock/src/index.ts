import { definePlugin, PLUGIN_API_VERSION, runtimeProvider } from '@scistream/core';
import { DockerRuntime } from './docker-runtime.js';
import { findEndpoint, socketEndpoint } from './endpoint.js';
import { DockerOptions, DockersockOptions } from './options.js';

export { DockerRuntime } from './docker-runtime.js';
export { findEndpoint, socketEndpoint } from './endpoint.js';
export type { Endpoint, EndpointOptions } from './endpoint.js';
export { DockerOptions, DockersockOptions } from './options.js';

/** The runtimes `docker` and `dockersock`. They differ only in how they find the engine. */
export default definePlugin({
  apiVersion: PLUGIN_API_VERSION,
  providers: [
    runtimeProvider({
      id: 'docker',
      options: DockerOptions,
      create: ({ log, dataDir, signal }, options) =>
        new DockerRuntime({ id: 'docker', find: () => findEndpoint(options), log, dataDir, signal }, options),
    }),
    runtimeProvider({
      id: 'dockersock',
      options: DockersockOptions,
      create: ({ log, dataDir, signal }, options) =>
        new DockerRuntime(
          { id: 'dockersock', find: () => socketEndpoint(options.socket), log, dataDir, signal },
          options,
        ),
    }),
  ],
});
