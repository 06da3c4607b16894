import { readFileSync } from 'node:fs';
import { SciStreamError, within } from '@scistream/core';

/** Whether the end of a daemon is the end of its streams. */
export interface StopOptions {
  readonly release: boolean;
}

/** How a daemon is run. */
export interface RunOptions extends StopOptions {
  /** What SIGHUP asks for, instead of the end; may be called often. Never rejects. */
  readonly reload?: () => Promise<void>;
}

/** Something that is started once and stopped once. */
export interface Daemon<Started> {
  start(): Promise<Started>;
  stop(options: StopOptions): Promise<void>;
}

/** How long stopping may take, ms. Something that hangs, such as the code of a plugin, must not keep the process. */
const STOP_MS = 60_000;
/** Bit of SIGHUP in the signal masks of proc(5). */
const SIGHUP_BIT = 1n;

/**
 * Runs a daemon until SIGINT, SIGTERM or, unless it can reload, the end of its terminal (SIGHUP), then stops it. A
 * second signal ends the process at once.
 * @param onStarted Called once with what `start` returned.
 */
export async function runDaemon<Started>(
  daemon: Daemon<Started>,
  { release, reload }: RunOptions,
  onStarted: (started: Started) => void,
): Promise<void> {
  const asked = firstSignal(reload);
  onStarted(await daemon.start());
  await asked;
  await within(
    daemon.stop({ release }),
    STOP_MS,
    () => new SciStreamError('SCI_DEADLINE', `Stopping took over ${STOP_MS} ms.`),
  );
}

/** Whether the process was started under nohup(1), whose wish a handler would override. */
function ignoresHangup(): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & SIGHUP_BIT) !== 0n;
}

function firstSignal(reload: RunOptions['reload']): Promise<void> {
  return new Promise((resolve) => {
    let seen = false;
    const on = (signal: NodeJS.Signals, number: number): void => {
      process.on(signal, () => {
        if (seen) process.exit(128 + number);
        seen = true;
        resolve();
      });
    };
    on('SIGINT', 2);
    on('SIGTERM', 15);
    if (reload) process.on('SIGHUP', () => void reload());
    else if (!ignoresHangup()) on('SIGHUP', 1);
  });
}
