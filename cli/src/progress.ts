import { ux } from '@oclif/core';
import { paint } from './output.js';

const SPINNER_AFTER_MS = 1000;

/** Tells a person at a terminal what is going on; says nothing elsewhere. */
export interface Progress {
  /** A step is done: `✔ text`. */
  done(text: string): void;
  /** A hint or a warning. */
  note(text: string): void;
  /** Something takes time: a spinner with this text after a second, until the next call of any method. */
  busy(text: string): void;
  /** Nothing is going on any more. */
  idle(): void;
}

const silent: Progress = { done: () => undefined, note: () => undefined, busy: () => undefined, idle: () => undefined };

/** Progress on stderr, silent when stderr is no terminal or `quiet` is set. */
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
