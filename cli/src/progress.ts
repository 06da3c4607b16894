import { ux } from '@oclif/core';
import { forTerminal, paint } from './output.js';

const SPINNER_AFTER_MS = 1000;

/** Progress for a person at a terminal; silent elsewhere. */
export interface Progress {
  /** Prints a finished step: `✔ text`. */
  done(text: string): void;
  /** Prints a hint. */
  note(text: string): void;
  /** Prints a warning, also when stderr is not a terminal: the log of a batch job must contain it. */
  warn(text: string): void;
  /** Shows a spinner with this text after one second, until the next call of any method. */
  busy(text: string): void;
  /** Stops the spinner. */
  idle(): void;
}

const nothing = (): void => undefined;
const silent: Progress = { done: nothing, note: nothing, warn: nothing, busy: nothing, idle: nothing };

/** Progress on stderr; only warnings when stderr is not a terminal; nothing if `quiet` is set. */
export function createProgress(quiet: boolean): Progress {
  if (quiet) return silent;
  if (!process.stderr.isTTY) return { ...silent, warn: (text) => process.stderr.write(`${forTerminal(text)}\n`) };
  let waiting: NodeJS.Timeout | undefined;
  const idle = (): void => {
    clearTimeout(waiting);
    if (ux.action.running) ux.action.stop();
  };
  const line = (text: string): void => {
    idle();
    process.stderr.write(`${forTerminal(text)}\n`);
  };
  return {
    done: (text) => line(`${paint('green', '✔', process.stderr)} ${text}`),
    note: line,
    warn: line,
    busy: (text) => {
      idle();
      waiting = setTimeout(() => ux.action.start(forTerminal(text)), SPINNER_AFTER_MS);
      waiting.unref();
    },
    idle,
  };
}
