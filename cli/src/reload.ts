import { SciStreamError, toSciStreamError, type Logger } from '@scistream/core';
import type { ConfigKind, Configs, LoadedConfig } from '@scistream/core/config';

/** What a daemon does when it is told to read its configuration anew. */
export interface ReloadSteps<Kind extends ConfigKind> {
  /** Keys that may change, each with all below it. */
  readonly changeable: readonly string[];
  /** Reads the configuration from where the first one came from. */
  readonly load: () => Promise<LoadedConfig<Kind>>;
  /** Checks what a schema cannot, as `config check` does. */
  readonly check: (config: Configs[Kind]) => Promise<void>;
  /** Puts it in force, all of it or nothing. @returns what to log about it */
  readonly apply: (config: Configs[Kind]) => Promise<object>;
  readonly log: Logger;
}

/**
 * Makes the function that reads the configuration anew: all of what it says comes into force, or nothing changes and the
 * log says why. It never rejects; when it is called while it runs, it runs once more afterwards.
 * @param first What is in force.
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
      log.info(await apply(next.config), 'configuration was read anew and is in force');
    } catch (error) {
      const { code, message } = toSciStreamError(error);
      log.error({ code, error: message }, 'configuration was read anew but not taken over; nothing has changed');
    }
  };
  return () => (last = last.then(reload));
}

/** Keys of the leaves that differ, as people write them. */
function changed(before: Pick<LoadedConfig<ConfigKind>, 'values'>, after: typeof before): readonly string[] {
  const texts = ({ values }: typeof before): Map<string, string> =>
    new Map(values.map(({ key, value }) => [key, JSON.stringify(value)]));
  const [old, now] = [texts(before), texts(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((key) => old.get(key) !== now.get(key));
}

function cannotChange(keys: readonly string[]): SciStreamError {
  const what = keys.length === 1 ? 'key that cannot' : 'keys that cannot';
  return new SciStreamError('SCI_CONFIG_FIXED', `Changed ${what} change while the daemon runs: ${keys.join(', ')}.`, {
    suggestions: ['Restart the daemon, which leaves its streams running, or undo these changes.'],
  });
}
