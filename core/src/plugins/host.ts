import { setMaxListeners } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { PLUGIN_API_VERSION, type HostContext } from '../contracts/plugin.js';
import { VERSION } from '../contracts/version.js';

/** Gives plugins their contexts and ends them with the process. One per gateway and one per control server. */
export class PluginHost {
  readonly #stopping = new AbortController();
  readonly #closers: (() => Promise<void>)[] = [];

  constructor(
    private readonly log: Logger,
    /** Directory below which every provider gets one of its own. */
    private readonly state: string,
  ) {
    // A plugin may wait for its host's end in as many places as it has calls under way.
    setMaxListeners(0, this.#stopping.signal);
  }

  /**
   * @param name Of the provider, a relative path: its directory (made here, 0700) and the name in the log.
   * @throws SCI_CONFIG_INVALID when the directory cannot be made
   */
  async context(name: string): Promise<HostContext> {
    const dataDir = join(this.state, name);
    await mkdir(dataDir, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
      throw new SciStreamError('SCI_CONFIG_INVALID', `state: cannot make ${dataDir}: ${messageOf(cause)}.`, {
        cause,
        suggestions: ['Set the key state to a directory that the daemon may write to.'],
      });
    });
    return {
      log: this.log.child({ plugin: name }),
      dataDir,
      signal: this.#stopping.signal,
      host: { version: VERSION, apiVersion: PLUGIN_API_VERSION },
      onClose: (close) => void this.#closers.push(close),
    };
  }

  /** Aborts the signal of every context and closes what plugins registered, the youngest first. Idempotent. */
  async close(): Promise<void> {
    this.#stopping.abort();
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}
