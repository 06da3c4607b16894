import type { Logger } from '@scistream/core';
import { pino, type LoggerOptions } from 'pino';

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

/** The log of a daemon: JSON lines on stderr. */
export interface DaemonLog {
  readonly log: Logger;
  /** Applies to everything that logs from now on. @param level Key `log` of the configuration; absent: `info`. */
  readonly setLevel: (level: keyof typeof LEVELS | undefined) => void;
}

/** With the flag `quiet` warnings, with `verbose` everything, whatever the configuration says. */
export function createLog(flags: { readonly quiet: boolean; readonly verbose: boolean }): DaemonLog {
  let least: number = LEVELS.info;
  const setLevel: DaemonLog['setLevel'] = (level = 'info') => {
    least = LEVELS[flags.quiet ? 'warn' : flags.verbose ? 'debug' : level];
  };
  setLevel(undefined);
  const hooks: LoggerOptions['hooks'] = {
    logMethod(args, method, level) {
      if (level >= least) method.apply(this, args);
    },
  };
  // Filtered here and not by pino's own level, which a child copies when it is made.
  const log = pino({ level: 'debug', hooks }, pino.destination({ dest: 2, sync: true }));
  return { log, setLevel };
}
