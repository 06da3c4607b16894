import { messageOf, poll, S2DSException, type ContainerRef, type ContainerRuntime } from '@scistream/core';

const DEADLINE_MS = 10_000;

/** After that a master that has not begun to reload is asked again. */
const AGAIN_MS = 250;

/** Lines of the log that a reload writes, besides two per listener: the master's own, and those of workers that end. */
const RELOAD_LINES = 60;

/**
 * Whether the log says that a worker has been loaded, so that all listeners are bound: the master prints this for each
 * (HAProxy 2.5 and newer, management guide §4).
 */
export const isLoaded = (log: string): boolean => /New worker \(\d+\) forked[^]*Loading success/.test(log);

/**
 * Makes the master of an instance load its files into a new worker (SIGUSR2, management guide §4). The old worker hands
 * its listening sockets over, keeps its connections, and ends with the last of them. Returns when the new one alone
 * accepts. Not more than one call per instance at a time.
 *
 * A master that has just loaded a worker executes itself once more, and a signal that comes meanwhile may be lost (seen
 * with 2.6 and 3.0); so it is asked again until it begins. Once too often is harmless: the files are the same.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED when HAProxy could not, or has not within 10 s; the old worker goes on
 */
export async function reload(runtime: ContainerRuntime, ref: ContainerRef, listeners: number): Promise<void> {
  const read = (): Promise<string> => runtime.logs(ref, 2 * listeners + RELOAD_LINES);
  const before = await read();
  let asked = -Infinity;
  const outcome = await poll(
    async () => {
      const progress = progressOf(before, await read(), listeners);
      if (progress === 'done') return 'done';
      if (progress === 'failed') return reloadFailed('its log says why');
      if (progress === 'begun' || performance.now() - asked < AGAIN_MS) return undefined;
      asked = performance.now();
      return await runtime.signal(ref, 'SIGUSR2').then(
        () => undefined,
        (cause: unknown) => reloadFailed(messageOf(cause), cause),
      );
    },
    { timeoutMs: DEADLINE_MS, intervalMs: 20 },
    (cause) => reloadFailed(`its log does not say so after ${DEADLINE_MS} ms`, cause),
  );
  if (outcome !== 'done') throw outcome;
}

/**
 * How far a reload has come, by the log.
 * @param before The last lines when it was asked for.
 * @param log The last lines now.
 */
export function progressOf(before: string, log: string, listeners: number): 'none' | 'begun' | 'failed' | 'done' {
  const fresh = since(before, log);
  const begin = fresh.indexOf('Reloading HAProxy');
  if (begin < 0) return 'none';
  const said = fresh.slice(begin);
  if (/Loading failure|Failed to load worker/.test(said)) return 'failed';
  const newest = workersIn(said).at(-1);
  if (newest === undefined || !isLoaded(said.slice(said.lastIndexOf(`New worker (${newest})`)))) return 'begun';
  const old = [...workersIn(before).slice(-1), ...workersIn(fresh)].filter((pid) => pid !== newest);
  return old.every((pid) => hasStopped(log, pid, listeners)) ? 'done' : 'begun';
}

/** What has been written since: the end of `before` is the beginning of `log`, unless all of it has gone by. */
function since(before: string, log: string): string {
  const lines = before.trimEnd().split('\n');
  const known = lines.map((_, i) => lines.slice(i).join('\n')).find((end) => log.startsWith(end)) ?? '';
  return log.slice(known.length);
}

/** Pids of the workers that were started, as the master sees them. */
const workersIn = (log: string): readonly string[] =>
  [...log.matchAll(/New worker \((\d+)\) forked/g)].flatMap(([, pid]) => pid ?? []);

/** Whether a worker accepts nothing any more. */
function hasStopped(log: string, pid: string, listeners: number): boolean {
  if (log.includes(`Former worker (${pid}) exited`)) return true;
  const lines = Array.from({ length: listeners }, (_, i) => `(${pid}) : Proxy f${i} stopped`);
  return lines.every((line) => log.includes(line));
}

function reloadFailed(why: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `HAProxy did not load its new configuration: ${why}.`, {
    cause,
    suggestions: ['Try again; if it stays, release the stream and make it again.'],
  });
}
