import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import { makeDirectory } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { PLUGIN_API_VERSION, type HostContext } from '../contracts/plugin.js';
import { formatDuration } from '../contracts/units.js';
import { VERSION } from '../contracts/version.js';
import { within } from '../contracts/wait.js';

/** Deadline of a close function, ms. */
const CLOSE_MS = 10_000;

/** Creates the contexts of plugins and closes them with the process. One per gateway and one per control server. */
export class PluginHost {
  readonly #stopping = new AbortController();
  readonly #closers: { readonly name: string; readonly close: () => Promise<void> }[] = [];

  constructor(
    private readonly log: Logger,
    /** Directory with a subdirectory for every provider. */
    private readonly state: string,
  ) {
    // A plugin may add a listener for every call under way.
    setMaxListeners(0, this.#stopping.signal);
  }

  /**
   * Creates the context of a provider.
   * @param name Relative path of its directory, created here with mode 0700, and its name in the log
   * @throws SCI_CONFIG_INVALID if the directory cannot be created
   */
  async context(name: string): Promise<HostContext> {
    const dataDir = join(this.state, name);
    await makeDirectory(dataDir).catch((cause: unknown) => {
      throw new SciStreamError('SCI_CONFIG_INVALID', `state: cannot create ${dataDir}: ${messageOf(cause)}.`, {
        cause,
        suggestions: ['Set the key state to a directory that the daemon can write to.'],
      });
    });
    return {
      log: this.log.child({ plugin: name }),
      dataDir,
      signal: this.#stopping.signal,
      host: { version: VERSION, apiVersion: PLUGIN_API_VERSION },
      onClose: (close) => void this.#closers.push({ name, close }),
    };
  }

  /**
   * Aborts the signal of every context and runs the registered close functions, the latest first. Idempotent. A function
   * that fails, or does not return within 10 s, is logged, and the others follow.
   */
  async close(): Promise<void> {
    this.#stopping.abort();
    for (const { name, close } of this.#closers.splice(0).reverse()) {
      const late = (): Error => new Error(`no result within ${formatDuration(CLOSE_MS)}`);
      await within((async () => await close())(), CLOSE_MS, late).catch((error: unknown) => {
        this.log.error({ plugin: name, error: messageOf(error) }, 'plugin not closed');
      });
    }
  }
}
