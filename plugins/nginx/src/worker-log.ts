/** What the log of an instance tells about its workers: pids, each as text. */
export interface WorkerLog {
  readonly started: ReadonlySet<string>;
  /** Those that accept no connection any more: they are asked to end with their last connection, or have ended. */
  readonly retired: ReadonlySet<string>;
  /** Whole lines that say why a configuration was not taken over. */
  readonly refusals: readonly string[];
}

const NOTHING: WorkerLog = { started: new Set(), retired: new Set(), refusals: [] };

/**
 * Reads the notices that Nginx writes about its processes (level `notice`, src/os/unix/ngx_process_cycle.c).
 * `gracefully shutting down` is written by a worker that does nothing else before its listening sockets are closed.
 * @param earlier What was read before, which is kept: only the end of a log is ever read, and lines scroll out of it.
 */
export function readLog(log: string, earlier = NOTHING): WorkerLog {
  const all = (pattern: RegExp): Set<string> => new Set([...log.matchAll(pattern)].flatMap(([, pid]) => pid ?? []));
  const leaving = all(/ \[notice\] (\d+)#\d+: gracefully shutting down$/gm);
  const ended = all(/ worker process (\d+) exited /g);
  return {
    started: new Set([...earlier.started, ...all(/ start worker process (\d+)$/gm)]),
    retired: new Set([...earlier.retired, ...leaving, ...ended]),
    refusals: [...earlier.refusals, ...log.split('\n').filter((line) => line.includes(' [emerg] '))],
  };
}

/**
 * How a reload stands: `done` when as many workers have been started as have stopped accepting, `refused` when the
 * configuration was not taken over, undefined while it goes on.
 * @param before The log before it was asked for; it does not matter what has scrolled out of it.
 * @param now All that was seen since.
 */
export function reloadState(before: WorkerLog, now: WorkerLog): 'done' | 'refused' | undefined {
  const added = (from: ReadonlySet<string>, to: ReadonlySet<string>): number =>
    [...to].filter((pid) => !from.has(pid)).length;
  const started = added(before.started, now.started);
  if (started > 0) return added(before.retired, now.retired) >= started ? 'done' : undefined;
  return now.refusals.some((line) => !before.refusals.includes(line)) ? 'refused' : undefined;
}
