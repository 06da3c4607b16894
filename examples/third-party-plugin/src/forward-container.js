import { readFileSync } from 'node:fs';
import { formatAddress, poll, ProxyContainer, S2DSException } from '@scistream/core';

const PROGRAM = 'forwarder.mjs';
const CONFIG = 'forward.json';
const RELOAD_TIMEOUT_MS = 5_000;

/** The program that forwards. It travels with the configuration, so it runs wherever there is a Node.js. */
const program = readFileSync(new URL('./forwarder.js', import.meta.url), 'utf8');

/** One {@link program} per stream, started, watched and stopped by the base class. */
export class ForwardContainer extends ProxyContainer {
  /** The host believes this, and the contract kit checks it. */
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
   * Without this the base class would connect to the listeners, which says little here: they are open already.
   * @override
   * @param {import('@scistream/core').ProxyInstance} instance
   */
  async ready({ ref }) {
    return (await this.context.runtime.logs(ref, 1)).startsWith('targets');
  }

  /**
   * The base class has replaced the file; tell the program, and wait until it says that it uses the new targets.
   * @override
   * @param {import('@scistream/core').ProxyInstance} instance
   */
  async reload({ ref, view }) {
    const { runtime } = this.context;
    const wanted = `targets ${view.targets.map(formatAddress).join(' ')}`;
    await runtime.signal(ref, 'SIGHUP');
    await poll(
      async () => ((await runtime.logs(ref, 1)).trim() === wanted ? true : undefined),
      { timeoutMs: RELOAD_TIMEOUT_MS },
      () => new S2DSException('SCI_PROXY_COMMAND_FAILED', `forward did not take over: ${wanted}.`),
    );
  }
}
