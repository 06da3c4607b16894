import {
  formatDuration,
  messageOf,
  poll,
  S2DSException,
  type ContainerRef,
  type ContainerRuntime,
} from '@scistream/core';

const DEADLINE_MS = 10_000;

/** Old workers with connections from before an update, per instance. More of them reject the next update. */
const MOST_OLD_WORKERS = 32;

/** Interval after which a master that has not begun to reload is signalled again. */
const AGAIN_MS = 250;

/** Log lines of a reload besides two per listener: from the master and from ending workers. */
const RELOAD_LINES = 60;

/**
 * Whether the log shows a loaded worker, whose listeners are then bound. The master prints this for each worker
 * (HAProxy 2.5 and newer, management guide §4).
 */
export const isLoaded = (log: string): boolean => /New worker \(\d+\) forked[^]*Loading success/.test(log);

/** Checks that the master of an instance can start another worker. @throws S2DSException SCI_LIMIT_REACHED */
export async function mayReload(runtime: ContainerRuntime, ref: ContainerRef, listeners: number): Promise<void> {
  const log = await runtime.logs(ref, MOST_OLD_WORKERS * (2 * listeners + RELOAD_LINES));
  const old = oldWorkersIn(log);
  if (old.length < MOST_OLD_WORKERS) return;
  throw new S2DSException(
    'SCI_LIMIT_REACHED',
    `HAProxy still has ${old.length} old workers with connections from before the last updates.`,
    { suggestions: ['Retry when some of these connections have ended.'] },
  );
}

/**
 * Makes the master of an instance load its files into a new worker (SIGUSR2, management guide §4). The old worker hands
 * over its listening sockets and ends with its last connection. Returns when only the new worker accepts connections.
 * Calls for one instance must not overlap.
 *
 * A master that has just loaded a worker re-executes itself and may lose a signal during that time (seen with 2.6 and
 * 3.0). The signal is therefore repeated until the reload begins. An extra reload is harmless, because the files are
 * the same.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED if the reload fails or takes more than 10 s; the old worker keeps
 * running
 */
export async function reload(runtime: ContainerRuntime, ref: ContainerRef, listeners: number): Promise<void> {
  const read = (): Promise<string> => runtime.logs(ref, 2 * listeners + RELOAD_LINES);
  const before = await read();
  let asked = -Infinity;
  const outcome = await poll(
    async () => {
      const progress = progressOf(before, await read(), listeners);
      if (progress === 'done') return 'done';
      if (progress === 'failed') return reloadFailed('see its log');
      if (progress === 'begun' || performance.now() - asked < AGAIN_MS) return undefined;
      asked = performance.now();
      return await runtime.signal(ref, 'SIGUSR2').then(
        () => undefined,
        (cause: unknown) => reloadFailed(messageOf(cause), cause),
      );
    },
    { timeoutMs: DEADLINE_MS, intervalMs: 20 },
    (cause) => reloadFailed(`its log does not confirm the reload within ${formatDuration(DEADLINE_MS)}`, cause),
  );
  if (outcome !== 'done') throw outcome;
}

/**
 * Progress of a reload according to the log.
 * @param before The last lines before the signal.
 * @param log The last lines now.
 */
export function progressOf(before: string, log: string, listeners: number): 'none' | 'begun' | 'failed' | 'done' {
  const fresh = since(before, log);
  const begin = fresh.indexOf('Reloading HAProxy');
  if (begin < 0) return 'none';
  const output = fresh.slice(begin);
  if (/Loading failure|Failed to load worker/.test(output)) return 'failed';
  const newest = workersIn(output).at(-1);
  if (newest === undefined || !isLoaded(output.slice(output.lastIndexOf(`New worker (${newest})`)))) return 'begun';
  const old = [...workersIn(before).slice(-1), ...workersIn(fresh)].filter((pid) => pid !== newest);
  return old.every((pid) => hasStopped(log, pid, listeners)) ? 'done' : 'begun';
}

/** The lines after `before`. `log` starts with the end of `before`, unless all of it has scrolled out. */
function since(before: string, log: string): string {
  const lines = before.trimEnd().split('\n');
  const known = lines.map((_, i) => lines.slice(i).join('\n')).find((end) => log.startsWith(end)) ?? '';
  return log.slice(known.length);
}

/** Pids of the replaced workers that still run. */
export const oldWorkersIn = (log: string): readonly string[] =>
  workersIn(log)
    .slice(0, -1)
    .filter((pid) => !log.includes(`Former worker (${pid}) exited`));

/** Pids of the started workers, as the master sees them. */
const workersIn = (log: string): readonly string[] =>
  [...log.matchAll(/New worker \((\d+)\) forked/g)].flatMap(([, pid]) => pid ?? []);

/** Whether a worker no longer accepts connections. */
function hasStopped(log: string, pid: string, listeners: number): boolean {
  if (log.includes(`Former worker (${pid}) exited`)) return true;
  const lines = Array.from({ length: listeners }, (_, i) => `(${pid}) : Proxy f${i} stopped`);
  return lines.every((line) => log.includes(line));
}

function reloadFailed(why: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `HAProxy did not load its new configuration: ${why}.`, {
    cause,
    suggestions: ['Retry the update. If it fails again, release the stream and create it again.'],
  });
}
