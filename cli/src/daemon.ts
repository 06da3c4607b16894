import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { formatDuration, messageOf, SciStreamError, within, type Logger } from '@scistream/core';
import type { Daemon, Listening } from '@scistream/core/server';
import { serviceManager, type ServiceManager } from './systemd.js';

/** Options of {@link runDaemon}. */
export interface RunOptions {
  /** Whether the daemon releases its streams when it stops. */
  readonly release: boolean;
  /** Handles SIGHUP. Called only while the daemon runs, possibly often. Never rejects. */
  readonly reload: () => Promise<void>;
  readonly log: Logger;
}

/** Deadline for stopping, ms. Code that hangs, such as a plugin, must not keep the process alive. */
const STOP_MS = 60_000;
/** Bit of SIGHUP in the signal masks of proc(5). */
const SIGHUP_BIT = 1n;

/**
 * Runs a daemon until SIGINT, SIGTERM or a terminal hangup, then stops it. A second signal ends the process immediately.
 * SIGHUP without a terminal hangup reloads the configuration. Notifies the service manager, if there is one.
 * @param onStarted Called once with the result of `start`.
 */
export async function runDaemon(
  daemon: Daemon<never>,
  { release, reload, log }: RunOptions,
  onStarted: (listening: Listening) => void,
): Promise<void> {
  const manager = serviceManager(() => daemon.check(), log);
  const asked = firstSignal();
  const onHangup = hangups(asked.now);
  keepRunningUnread(log);
  onStarted(await daemon.start());
  await manager.ready();
  onHangup(() => reloading(manager, reload));
  await asked.signal;
  onHangup(() => Promise.resolve());
  const stopped = within(
    daemon.stop({ release }),
    STOP_MS,
    () =>
      new SciStreamError('SCI_DEADLINE', `The daemon did not stop within ${formatDuration(STOP_MS)}.`, {
        suggestions: ['Read its log for the step that hangs. Streams keep running, and the next start recovers them.'],
      }),
  );
  await Promise.all([stopped, manager.stopping()]);
}

/** A full disk or a closed reader of the output ends a command, but must not end a daemon: replaces the error handlers. */
function keepRunningUnread(log: Logger): void {
  process.stdout.removeAllListeners('error').on('error', (error) => {
    log.warn({ error: messageOf(error) }, 'standard output is not writable');
  });
  // The log itself writes to the descriptor, see createLog.
  process.stderr.removeAllListeners('error').on('error', () => undefined);
}

async function reloading(manager: ServiceManager, reload: () => Promise<void>): Promise<void> {
  await manager.reloading();
  await reload();
  await manager.reloaded();
}

/** Whether the process ignores SIGHUP, as under nohup(1). Installing a handler would override that. */
function ignoresHangup(): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & SIGHUP_BIT) !== 0n;
}

/** Whether the process has a controlling terminal; tty(4) fails to open after a hangup. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/**
 * Distinguishes the two meanings of SIGHUP: terminal hangup and reload.
 * @param end Called on a terminal hangup.
 * @returns A function that sets the reload handler and calls it immediately if a signal arrived earlier.
 */
function hangups(end: () => void): (handler: () => Promise<void>) => void {
  const ignored = ignoresHangup();
  const terminal = hasTerminal();
  let missed = false;
  let handler: () => void = () => (missed = true);
  process.on('SIGHUP', () => {
    if (!terminal || hasTerminal()) handler();
    else if (!ignored) end();
  });
  return (given) => {
    handler = () => void given();
    if (missed) handler();
  };
}

function firstSignal(): { readonly signal: Promise<void>; readonly now: () => void } {
  let resolve = (): void => undefined;
  const signal = new Promise<void>((settle) => (resolve = settle));
  let seen = false;
  const on = (name: NodeJS.Signals, number: number): void => {
    process.on(name, () => {
      if (seen) process.exit(128 + number);
      seen = true;
      resolve();
    });
  };
  on('SIGINT', 2);
  on('SIGTERM', 15);
  return { signal, now: () => resolve() };
}
