import { readFileSync } from 'node:fs';
import { poll, ProxyContainer, S2DSException } from '@scistream/core';

const PROGRAM = 'forwarder.mjs';
const CONFIG = 'forward.json';
const RELOAD_TIMEOUT_MS = 5_000;

/** The program that forwards. It is part of the instance's files, so it runs wherever Node.js is available. */
const program = readFileSync(new URL('./forwarder.js', import.meta.url), 'utf8');

/** One {@link program} per stream, started, supervised and stopped by the base class. */
export class ForwardContainer extends ProxyContainer {
  /** The host relies on these values, and the contract kit checks them. */
  supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };

  /** @type {import('./options.js').ForwardOptions} */
  #options;

  /**
   * @param {import('@scistream/core').PluginContext} context
   * @param {import('./options.js').ForwardOptions} options
   */
  constructor(context, options) {
    super(context, 'forward');
    this.#options = options;
  }

  /**
   * @override
   * @param {import('@scistream/core').ProxyView} view
   * @returns {import('@scistream/core').ProxyDescription}
   */
  describe({ listeners, targets }) {
    const { backlog } = this.#options;
    const config = { backlog, listeners: listeners.map(({ address, fd }) => ({ ...address, fd })), targets };
    return {
      image: 'node:20.19-bookworm-slim',
      executable: 'node',
      args: [PROGRAM, CONFIG],
      config: CONFIG,
      files: { [PROGRAM]: program, [CONFIG]: JSON.stringify(config, undefined, 2) },
    };
  }

  /**
   * The default of the base class connects to the listeners. That proves little here, because they are already open.
   * @override
   * @param {import('@scistream/core').ProxyInstance} instance
   */
  async ready({ ref }) {
    return (await this.context.runtime.logs(ref, 1)).startsWith('targets');
  }

  /**
   * The base class has replaced the file. Signal the program and wait until it reports the new targets.
   * @override
   * @param {import('@scistream/core').ProxyInstance} instance
   */
  async reload({ ref, view }) {
    const { runtime } = this.context;
    const wanted = `targets ${JSON.stringify(view.targets)}`;
    await runtime.signal(ref, 'SIGHUP');
    await poll(
      async () => ((await runtime.logs(ref, 1)).trim() === wanted ? true : undefined),
      { timeoutMs: RELOAD_TIMEOUT_MS },
      () => new S2DSException('SCI_PROXY_COMMAND_FAILED', `The program did not apply ${wanted}.`),
    );
  }
}
