import type { Authenticator } from '../contracts/authenticator.js';
import type { ContainerRuntime } from '../contracts/container-runtime.js';
import { messageOf, S2DSException, SciStreamError } from '../contracts/errors.js';
import type { ProviderKind } from '../contracts/plugin.js';
import type { S2DS } from '../contracts/s2ds.js';
import { formatDuration } from '../contracts/units.js';

/** The code that a guard calls. */
export interface Author {
  readonly kind: ProviderKind;
  /** Id of the provider. */
  readonly id: string;
  /** Name of the package, or `built-in`. */
  readonly source: string;
}

/** How a method is called. */
export interface Rule {
  /** Position of the abort signal among the parameters. Absent: the method ends only with what it waits for. */
  readonly signal?: number;
  /** Deadline, ms. Absent: none. */
  readonly ms?: number;
  /** Position of a parameter with a time in ms, which the deadline does not include. */
  readonly plus?: number;
  readonly optional?: true;
  /** Its errors are part of the contract, also those that are not a SciStreamError. */
  readonly raw?: true;
}

type Method = (...args: never) => unknown;

/** The rules of all methods of a contract. */
export type Calls<Made> = {
  readonly [K in keyof Made as NonNullable<Made[K]> extends Method ? K : never]-?: Rule;
};

// The deadlines are far above what a slow machine needs. Plugins that have deadlines of their own fail earlier.
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

export const S2DS_CALLS: Calls<S2DS> = {
  // It may download an image.
  start: { signal: 1, ms: 10 * MINUTE },
  updateTargets: { signal: 2, ms: 2 * MINUTE },
  adopt: { signal: 2, ms: 2 * MINUTE },
  release: { signal: 2, ms: 3 * MINUTE },
  sweep: { signal: 1, ms: 2 * MINUTE, optional: true },
  status: { signal: 1, ms: 10 * SECOND },
  ended: {},
};

export const RUNTIME_CALLS: Calls<ContainerRuntime> = {
  ping: { signal: 0, ms: MINUTE },
  advise: { signal: 0, ms: MINUTE, optional: true },
  place: { signal: 1, ms: MINUTE, optional: true },
  // It may download an image.
  create: { signal: 1, ms: 10 * MINUTE },
  start: { signal: 2, ms: 3 * MINUTE },
  stop: { signal: 2, ms: 3 * MINUTE, plus: 1 },
  remove: { signal: 1, ms: 3 * MINUTE },
  inspect: { signal: 1, ms: 90 * SECOND },
  list: { signal: 1, ms: 90 * SECOND },
  logs: { signal: 2, ms: 90 * SECOND },
  exec: { signal: 3, ms: MINUTE, plus: 2 },
  putFiles: { signal: 2, ms: 2 * MINUTE },
  signal: { signal: 2, ms: 90 * SECOND },
  dial: { signal: 2, ms: MINUTE, raw: true },
  exited: { signal: 1 },
};

export const OPTIONS_CALL: Rule = { ms: 10 * SECOND };

export const AUTHENTICATOR_CALLS: Calls<Authenticator> = {
  authenticate: { signal: 1, ms: 30 * SECOND },
};

/**
 * Creates a part with the code of a plugin, and guards each call of it.
 * @param extend Called between the check and the guard.
 * @throws SCI_PLUGIN_FAILED if the code throws, or returns a part without a required method
 */
export function makeGuarded<Made extends object>(
  author: Author,
  calls: Calls<Made>,
  make: () => Made,
  extend: (made: Made) => Made = (made) => made,
): Made {
  let made: Made;
  try {
    made = make();
  } catch (error) {
    throw translated(author, 'create', error);
  }
  const given: unknown = made;
  const rules = Object.entries<Rule>(calls);
  // The compiler has checked the built-in parts.
  const lacks =
    author.source !== 'built-in' &&
    rules.find(([name, { optional }]) => !optional && typeof memberOf(given, name) !== 'function');
  if (lacks) throw failed(author, 'create', `the result has no method ${lacks[0]}`);
  return guard(extend(made), author, calls);
}

/**
 * Gives every call of a part a deadline, an abort signal and a translation of its errors. The signal of the caller does
 * not end the call: it ends when the part has cleaned up, or at the deadline.
 */
export function guard<Made extends object>(made: Made, author: Author, calls: Calls<Made>): Made {
  const rules = new Map(Object.entries<Rule>(calls));
  // Not a proxy of `made`: it may be frozen, and then must not have other methods than its own.
  return new Proxy<Made>(Object.create(null) as Made, {
    has: (_, name) => name in made,
    get: (_, name) => {
      const value: unknown = Reflect.get(made, name, made);
      const rule = typeof name === 'string' ? rules.get(name) : undefined;
      if (!rule || typeof value !== 'function') return value;
      const run = async (all: readonly unknown[]): Promise<unknown> => await Reflect.apply(value, made, all);
      return (...args: unknown[]) => callPlugin(author, String(name), rule, args, run);
    },
  });
}

/** Calls code of a plugin with a deadline, an abort signal and a translation of its errors. */
export async function callPlugin(
  author: Author,
  method: string,
  { signal: position, ms, plus, raw }: Rule,
  args: readonly unknown[],
  run: (args: readonly unknown[]) => Promise<unknown>,
): Promise<unknown> {
  const asked = position === undefined ? undefined : args[position];
  const caller = asked instanceof AbortSignal ? asked : undefined;
  const late = new AbortController();
  const parameters = [...args];
  if (position !== undefined && ms !== undefined)
    parameters[position] = caller ? AbortSignal.any([caller, late.signal]) : late.signal;
  const extra = plus === undefined ? 0 : Number(args[plus]);
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    if (ms === undefined) return;
    timer = setTimeout(() => {
      const error = failed(author, method, `no result within ${formatDuration(ms + extra)}`);
      late.abort(error);
      reject(error);
    }, ms + extra);
  });
  try {
    return await Promise.race([run(parameters), deadline]);
  } catch (error) {
    if (raw) throw error;
    if (caller?.aborted && !SciStreamError.is(error)) throw caller.reason;
    throw translated(author, method, error);
  } finally {
    clearTimeout(timer);
  }
}

/** An error of plugin code: itself if it is one of ours, otherwise SCI_PLUGIN_FAILED. */
function translated(author: Author, method: string, error: unknown): unknown {
  // A defect of a built-in part is one of SciStream. The outermost callers say so.
  if (SciStreamError.is(error) || author.source === 'built-in') return error;
  return failed(author, method, messageOf(error), error);
}

/** Maximum length of the text of a plugin in an error, characters. */
const MAX_REASON = 500;

/** The error of a call that failed or is late. */
export function failed({ kind, id, source }: Author, method: string, reason: string, cause?: unknown): S2DSException {
  const isOurs = source === 'built-in';
  const whose = isOurs ? `Built-in ${kind} ${id}` : `Plugin ${source}, ${kind} ${id},`;
  // The caller is not authenticated yet. The log has the reason.
  const shown = kind === 'authenticator' && !isOurs && cause !== undefined ? 'see the log of the daemon' : reason;
  return new S2DSException(
    isOurs ? 'SCI_BUG' : 'SCI_PLUGIN_FAILED',
    `${whose} failed in ${method}: ${shown.slice(0, MAX_REASON)}.`,
    {
      cause,
      suggestions: isOurs
        ? ['Report this defect with the log of the daemon.']
        : [
            `Report this defect to the author of the plugin, with the log of the daemon: scistream plugin inspect ${source}`,
          ],
    },
  );
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
