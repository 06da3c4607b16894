/** Workers according to the log of an instance; pids as text. */
export interface WorkerLog {
  readonly started: ReadonlySet<string>;
  /** Workers that no longer accept connections: they are shutting down or have ended. */
  readonly retired: ReadonlySet<string>;
  readonly ended: ReadonlySet<string>;
  /** Complete lines with the reasons for a rejected configuration. */
  readonly refusals: readonly string[];
}

const NOTHING: WorkerLog = { started: new Set(), retired: new Set(), ended: new Set(), refusals: [] };

/**
 * Reads the notices of Nginx about its processes (level `notice`, src/os/unix/ngx_process_cycle.c). A worker writes
 * `gracefully shutting down` immediately before it closes its listening sockets.
 * @param earlier The previous result, which is extended: only the end of a log is read, and lines scroll out of it.
 */
export function readLog(log: string, earlier = NOTHING): WorkerLog {
  const all = (pattern: RegExp): Set<string> => new Set([...log.matchAll(pattern)].flatMap(([, pid]) => pid ?? []));
  const leaving = all(/ \[notice\] (\d+)#\d+: gracefully shutting down$/gm);
  const ended = all(/ worker process (\d+) exited /g);
  return {
    started: new Set([...earlier.started, ...all(/ start worker process (\d+)$/gm)]),
    retired: new Set([...earlier.retired, ...leaving, ...ended]),
    ended: new Set([...earlier.ended, ...ended]),
    refusals: [...earlier.refusals, ...log.split('\n').filter((line) => line.includes(' [emerg] '))],
  };
}

/**
 * State of a reload: `done` when as many workers have stopped accepting as have been started, `refused` when the
 * configuration was rejected, undefined while it is in progress.
 * @param before The log before the reload; scrolled-out lines do not matter.
 * @param now Everything seen since.
 */
export function reloadState(before: WorkerLog, now: WorkerLog): 'done' | 'refused' | undefined {
  const added = (from: ReadonlySet<string>, to: ReadonlySet<string>): number =>
    [...to].filter((pid) => !from.has(pid)).length;
  const started = added(before.started, now.started);
  if (started > 0) return added(before.retired, now.retired) >= started ? 'done' : undefined;
  return now.refusals.some((line) => !before.refusals.includes(line)) ? 'refused' : undefined;
}

/** The workers that no longer accept connections but still serve some. */
export const drainingIn = ({ retired, ended }: WorkerLog): readonly string[] =>
  [...retired].filter((pid) => !ended.has(pid));
