import { SciStreamError, type Logger } from '@scistream/core';
import { toSciStreamError } from '@scistream/core/terminal';
import type { ConfigKind, Configs, LoadedConfig } from '@scistream/core/config';

/** The steps of a configuration reload. */
export interface ReloadSteps<Kind extends ConfigKind> {
  /** Keys that may change while the daemon runs, each including its subkeys. */
  readonly changeable: readonly string[];
  /** Reads the configuration from the same sources as at the start. */
  readonly load: () => Promise<LoadedConfig<Kind>>;
  /** Checks what a schema cannot, like `config check`. */
  readonly check: (config: Configs[Kind]) => Promise<void>;
  /** Applies the configuration, all of it or nothing. @returns fields for the log */
  readonly apply: (config: Configs[Kind]) => Promise<object>;
  readonly log: Logger;
}

/**
 * Creates the function that reloads the configuration. A reload applies all changes, or none and logs the reason. The
 * function never rejects; calls during a reload are queued.
 * @param first The configuration in force.
 */
export function reloader<Kind extends ConfigKind>(
  first: LoadedConfig<Kind>,
  { changeable, load, check, apply, log }: ReloadSteps<Kind>,
): () => Promise<void> {
  let last = Promise.resolve();
  const reload = async (): Promise<void> => {
    try {
      const next = await load();
      const fixed = changed(first, next).filter((key) => !changeable.some((one) => `${key}.`.startsWith(`${one}.`)));
      if (fixed.length > 0) throw cannotChange(fixed);
      await check(next.config);
      log.info(await apply(next.config), 'configuration reloaded');
    } catch (error) {
      const { code, message } = toSciStreamError(error);
      log.error({ code, error: message }, 'configuration reload rejected');
    }
  };
  return () => (last = last.then(reload));
}

/** The keys of all leaves that differ. */
function changed(before: Pick<LoadedConfig<ConfigKind>, 'values'>, after: typeof before): readonly string[] {
  const texts = ({ values }: typeof before): Map<string, string> =>
    new Map(values.map(({ key, value }) => [key, JSON.stringify(value)]));
  const [old, now] = [texts(before), texts(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((key) => old.get(key) !== now.get(key));
}

function cannotChange(keys: readonly string[]): SciStreamError {
  const what = keys.length === 1 ? 'This key' : 'These keys';
  return new SciStreamError('SCI_CONFIG_FIXED', `${what} cannot change while the daemon runs: ${keys.join(', ')}.`, {
    suggestions: ['Restart the daemon (streams keep running), or undo the change.'],
  });
}
