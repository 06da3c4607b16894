import type { Logger } from '@scistream/core';

/** One line of a log. */
export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that keeps all lines in order, including those of its children. */
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

  /** All lines as one text, to search for values that must not be logged. */
  get text(): string {
    return this.lines.map((line) => JSON.stringify(line)).join('\n');
  }

  #keep(level: Line['level'], fields: object, message: string): void {
    this.lines.push({ level, message, fields: { ...this.bound, ...fields } });
  }
}
