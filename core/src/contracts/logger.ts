/**
 * Logger of SciStream and its plugins; a pino logger satisfies it. Messages are constant lower-case facts. Values are
 * fields, such as `uid`, `role`, `proxy` or `peer`. Neither contains secrets.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Returns a logger that adds `fields` to every line. */
  child(fields: object): Logger;
}

/** Discards everything. The default of libraries that are used without a logger. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
