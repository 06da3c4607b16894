import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { SciStreamError, within, type Logger } from '@scistream/core';
import { serviceManager, type ServiceManager } from './systemd.js';

/** Whether the end of a daemon is the end of its streams. */
export interface StopOptions {
  readonly release: boolean;
}

/** How a daemon is run. */
export interface RunOptions extends StopOptions {
  /** What SIGHUP asks for; called only while the daemon runs, and may be called often. Never rejects. */
  readonly reload: () => Promise<void>;
  readonly log: Logger;
}

/** Something that is started once and stopped once. */
export interface Daemon<Started> {
  start(): Promise<Started>;
  stop(options: StopOptions): Promise<void>;
  /** Rejects when the daemon could not do its work. Called between start and stop, again and again. */
  check(): Promise<void>;
}

/** How long stopping may take, ms. Something that hangs, such as the code of a plugin, must not keep the process. */
const STOP_MS = 60_000;
/** Bit of SIGHUP in the signal masks of proc(5). */
const SIGHUP_BIT = 1n;

/**
 * Runs a daemon until SIGINT, SIGTERM or the end of its terminal, then stops it. A second signal ends the process at
 * once. SIGHUP without the end of the terminal reloads. The service manager, if there is one, is told of all of it.
 * @param onStarted Called once with what `start` returned.
 */
export async function runDaemon<Started>(
  daemon: Daemon<Started>,
  { release, reload, log }: RunOptions,
  onStarted: (started: Started) => void,
): Promise<void> {
  const manager = serviceManager(() => daemon.check(), log);
  const asked = firstSignal();
  const onHangup = hangups(asked.now);
  onStarted(await daemon.start());
  await manager.ready();
  onHangup(() => reloading(manager, reload));
  await asked.signal;
  onHangup(() => Promise.resolve());
  const stopped = within(
    daemon.stop({ release }),
    STOP_MS,
    () => new SciStreamError('SCI_DEADLINE', `Stopping took over ${STOP_MS} ms.`),
  );
  await Promise.all([stopped, manager.stopping()]);
}

async function reloading(manager: ServiceManager, reload: () => Promise<void>): Promise<void> {
  await manager.reloading();
  await reload();
  await manager.reloaded();
}

/** Whether the process was started under nohup(1), whose wish a handler would override. */
function ignoresHangup(): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & SIGHUP_BIT) !== 0n;
}

/** Whether there is a terminal that would end the process with itself; tty(4) has none once it was hung up. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/**
 * Tells the two meanings of SIGHUP apart.
 * @param end Called when the terminal of the process has ended.
 * @returns What takes the handler of the other meaning, and calls it at once if it was missed.
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
