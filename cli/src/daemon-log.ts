import type { Logger } from '@scistream/core';
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
    logMethod(args, method, level) {
      if (level >= least) method.apply(this, args);
    },
  };
  // Filter here instead of using pino's level: a child logger copies the level when it is created.
  const log = pino({ level: 'debug', hooks }, pino.destination({ dest: 2, sync: true }));
  return { log, setLevel };
}
