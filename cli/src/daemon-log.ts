import { messageOf, type Logger } from '@scistream/core';
import { printableJson } from '@scistream/core/terminal';
import { pino, type LoggerOptions } from 'pino';

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

/** A daemon log: JSON lines on stderr. */
export interface DaemonLog {
  readonly log: Logger;
  /** Changes the level of all loggers. @param level Key `log` of the configuration; default `info`. */
  readonly setLevel: (level: keyof typeof LEVELS | undefined) => void;
}

/** Creates the log. `quiet` (warnings and errors) and `verbose` (everything) override the configured level. */
export function createLog(flags: { readonly quiet: boolean; readonly verbose: boolean }): DaemonLog {
  let least: number = LEVELS.info;
  const setLevel: DaemonLog['setLevel'] = (level = 'info') => {
    least = LEVELS[flags.quiet ? 'warn' : flags.verbose ? 'debug' : level];
  };
  setLevel(undefined);
  const hooks: LoggerOptions['hooks'] = {
    // JSON leaves characters that a terminal interprets, and lines contain texts of callers.
    streamWrite: printableJson,
    logMethod(args, method, level) {
      if (level >= least) method.apply(this, args);
    },
  };
  // Filter here instead of using pino's level: a child logger copies the level when it is created.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: WAITING_BYTES });
  const log = pino({ level: 'debug', hooks }, destination);
  reportGaps(destination, log);
  return { log, setLevel };
}

/** Lines that wait while the log is not writable, bytes. Later lines are dropped. */
const WAITING_BYTES = 1024 * 1024;

/**
 * Keeps the daemon running while its log is not writable, for example on a full disk. The waiting lines are written with
 * the next line that succeeds, followed by a warning.
 */
function reportGaps(destination: ReturnType<typeof pino.destination>, log: Logger): void {
  let gap: { readonly error: string; readonly since: string; lost: number } | undefined;
  destination.on('error', (error) => (gap ??= { error: messageOf(error), since: new Date().toISOString(), lost: 0 }));
  destination.on('drop', () => {
    if (gap) gap.lost += 1;
  });
  destination.on('drain', () => {
    if (!gap) return;
    const over = gap;
    gap = undefined;
    log.warn(over, 'log was not writable');
  });
}
