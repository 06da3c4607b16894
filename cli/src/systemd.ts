import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { messageOf, systemCode, type Logger } from '@scistream/core';

const PROGRAM = 'systemd-notify';
/** The program itself waits 5 s at most until what it said was read. */
const TIMEOUT_MS = 10_000;

/** A service manager that is told how a daemon does, as sd_notify(3) describes it. */
export interface ServiceManager {
  /** The daemon serves. From now on `check` is asked again and again, and as long as it succeeds the watchdog is fed. */
  ready(): Promise<void>;
  reloading(): Promise<void>;
  /** Of a reload, whatever became of it. */
  reloaded(): Promise<void>;
  stopping(): Promise<void>;
}

const NOBODY: ServiceManager = {
  ready: () => Promise.resolve(),
  reloading: () => Promise.resolve(),
  reloaded: () => Promise.resolve(),
  stopping: () => Promise.resolve(),
};

/**
 * The service manager that started this process, by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of its environment;
 * without the first, one that nothing is said to. The variables are taken out of the environment, because the programs
 * started by the daemon, of which HAProxy knows them, must not speak for it. Node.js has no datagram sockets in the file
 * system, so the program systemd-notify does the talking: the unit needs `NotifyAccess=all`. Nothing here rejects.
 * @param check Rejects when the daemon could not do its work.
 */
export function serviceManager(check: () => Promise<void>, log: Logger): ServiceManager {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, ...others } = process.env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[name];
  if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return NOBODY;
  const notify = notifier({ ...others, NOTIFY_SOCKET }, log);
  const mine = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  const watched = mine && Number(WATCHDOG_USEC) > 0;
  let stopWatchdog = (): void => undefined;
  return {
    ready: async () => {
      await notify('READY=1');
      // Twice in each period, as sd_watchdog_enabled(3) recommends; µs to ms.
      if (watched) stopWatchdog = watchdog(Number(WATCHDOG_USEC) / 2_000, check, notify, log);
    },
    reloading: () => notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    reloaded: () => notify('READY=1'),
    stopping: () => {
      stopWatchdog();
      return notify('STOPPING=1');
    },
  };
}

type Notify = (...assignments: readonly string[]) => Promise<void>;

/** Says one thing after another, in the order asked for. */
function notifier(env: NodeJS.ProcessEnv, log: Logger): Notify {
  const run = promisify(execFile);
  let last = Promise.resolve();
  let failing = false;
  const say = async (assignments: readonly string[]): Promise<void> => {
    try {
      await run(PROGRAM, [...assignments], { env, timeout: TIMEOUT_MS });
      failing = false;
    } catch (error) {
      const missing = systemCode(error) === 'ENOENT' ? `${PROGRAM} is not installed` : messageOf(error);
      if (!failing) log.error({ error: missing }, 'the service manager cannot be told how this daemon does');
      failing = true;
    }
  };
  return (...assignments) => (last = last.then(() => say(assignments)));
}

/**
 * Beats for as long as checks succeed; one that hangs ends the beats as well.
 * @returns what stops it
 */
function watchdog(periodMs: number, check: () => Promise<void>, notify: Notify, log: Logger): () => void {
  let busy = false;
  let failing = false;
  let stopped = false;
  const beat = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      await check();
      failing = false;
      if (!stopped) await notify('WATCHDOG=1');
    } catch (error) {
      const news = !failing && !stopped;
      if (news) log.error({ error: messageOf(error) }, 'the watchdog is not fed: the daemon cannot do its work');
      failing = true;
    } finally {
      busy = false;
    }
  };
  void beat();
  const timer = setInterval(() => void beat(), periodMs).unref();
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
