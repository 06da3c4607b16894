import type { Logger } from '@scistream/core';

/** One line of a log. */
export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that keeps what it is told, children included, in the order of the calls. */
export class CapturedLog implements Logger {
  constructor(
    readonly lines: Line[] = [],
    private readonly bound: object = {},
  ) {}

  debug(fields: object, message: string): void {
    this.#keep('debug', fields, message);
  }

  info(fields: object, message: string): void {
    this.#keep('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.#keep('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.#keep('error', fields, message);
  }

  child(fields: object): CapturedLog {
    return new CapturedLog(this.lines, { ...this.bound, ...fields });
  }

  /** Everything as one text, to look for what must not be in it. */
  get text(): string {
    return this.lines.map((line) => JSON.stringify(line)).join('\n');
  }

  #keep(level: Line['level'], fields: object, message: string): void {
    this.lines.push({ level, message, fields: { ...this.bound, ...fields } });
  }
}
