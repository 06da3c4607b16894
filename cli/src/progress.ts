import { ux } from '@oclif/core';
import { paint } from './output.js';

const SPINNER_AFTER_MS = 1000;

/** Progress for a person at a terminal; silent elsewhere. */
export interface Progress {
  /** Prints a finished step: `✔ text`. */
  done(text: string): void;
  /** Prints a hint or a warning. */
  note(text: string): void;
  /** Shows a spinner with this text after one second, until the next call of any method. */
  busy(text: string): void;
  /** Stops the spinner. */
  idle(): void;
}

const silent: Progress = { done: () => undefined, note: () => undefined, busy: () => undefined, idle: () => undefined };

/** Progress on stderr; silent when stderr is not a terminal or `quiet` is set. */
export function createProgress(quiet: boolean): Progress {
  if (quiet || !process.stderr.isTTY) return silent;
  let waiting: NodeJS.Timeout | undefined;
  const idle = (): void => {
    clearTimeout(waiting);
    if (ux.action.running) ux.action.stop();
  };
  const line = (text: string): void => {
    idle();
    process.stderr.write(`${text}\n`);
  };
  return {
    done: (text) => line(`${paint('green', '✔', process.stderr)} ${text}`),
    note: line,
    busy: (text) => {
      idle();
      waiting = setTimeout(() => ux.action.start(text), SPINNER_AFTER_MS);
      waiting.unref();
    },
    idle,
  };
}
