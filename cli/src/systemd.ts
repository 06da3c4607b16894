import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { messageOf, systemCode, type Logger } from '@scistream/core';

const PROGRAM = 'systemd-notify';
/** systemd-notify itself waits at most 5 s until its message is read. */
const TIMEOUT_MS = 10_000;

/** Notifications to the service manager, as in sd_notify(3). */
export interface ServiceManager {
  /** The daemon serves. Starts the watchdog: each successful `check` sends a keep-alive. */
  ready(): Promise<void>;
  reloading(): Promise<void>;
  /** A reload has finished, successfully or not. */
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
 * The service manager that started this process, from NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of the environment.
 * Without NOTIFY_SOCKET all notifications do nothing. Removes the variables from the environment, because child programs
 * such as HAProxy would use them. Node.js has no Unix datagram sockets, so `systemd-notify` sends the messages: the unit
 * needs `NotifyAccess=all`. Notifications never reject.
 * @param check Rejects when the daemon cannot work.
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

/** Sends notifications one after another, in order. */
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
      if (!failing) log.error({ error: missing }, 'service manager notification failed');
      failing = true;
    }
  };
  return (...assignments) => (last = last.then(() => say(assignments)));
}

/**
 * Sends keep-alives while checks succeed; a check that hangs stops them too.
 * @returns a function that stops the watchdog
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
      if (news) log.error({ error: messageOf(error) }, 'health check failed, watchdog keep-alive withheld');
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
