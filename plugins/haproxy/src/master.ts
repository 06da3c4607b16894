import { poll, S2DSException, type ContainerRef, type ContainerRuntime } from '@scistream/core';

const DEADLINE_MS = 10_000;

/** Lines of the log that a reload writes, besides two per listener: the master's own, and those of workers that end. */
const RELOAD_LINES = 60;

/**
 * Whether the log says that a worker has been loaded, so that all listeners are bound: the master prints this for each
 * (HAProxy 2.5 and newer, management guide §4).
 */
export const isLoaded = (log: string): boolean => loadedWorker(log) !== undefined;

/**
 * Makes the master of an instance load its files into a new worker (SIGUSR2, management guide §4). The old worker hands
 * its listening sockets over, keeps its connections, and ends with the last of them. Returns when the new one alone
 * accepts. Not more than one call per instance at a time.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED when HAProxy could not, or has not within 10 s; the old worker goes on
 */
export async function reload(runtime: ContainerRuntime, ref: ContainerRef, listeners: number): Promise<void> {
  const read = (): Promise<string> => runtime.logs(ref, 2 * listeners + RELOAD_LINES);
  const before = await read();
  const old = loadedWorker(before);
  await runtime.signal(ref, 'SIGUSR2');
  const outcome = await poll(
    async () => {
      const log = await read();
      if (failures(log) > failures(before)) return 'failed';
      const loaded = loadedWorker(log);
      return loaded !== undefined && loaded !== old && hasStopped(log, old, listeners) ? 'done' : undefined;
    },
    { timeoutMs: DEADLINE_MS, intervalMs: 20 },
    (cause) => reloadFailed(`its log does not say so after ${DEADLINE_MS} ms`, cause),
  );
  if (outcome === 'failed') throw reloadFailed('its log says why');
}

/** Pid of the newest worker, as the master sees it, once it has been loaded. */
function loadedWorker(log: string): string | undefined {
  const newest = [...log.matchAll(/New worker \((\d+)\) forked/g)].at(-1);
  return newest && log.includes('Loading success', newest.index) ? newest[1] : undefined;
}

/** Whether a worker accepts nothing any more. */
function hasStopped(log: string, pid: string | undefined, listeners: number): boolean {
  if (pid === undefined || log.includes(`Former worker (${pid}) exited`)) return true;
  return Array.from({ length: listeners }, (_, i) => `(${pid}) : Proxy f${i} stopped`).every((line) =>
    log.includes(line),
  );
}

const failures = (log: string): number => log.split(/Loading failure|Failed to load worker/).length;

function reloadFailed(why: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `HAProxy did not load its new configuration: ${why}.`, {
    cause,
    suggestions: ['Try again; if it stays, release the stream and make it again.'],
  });
}
