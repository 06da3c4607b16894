/**
 * What the code of SciStream and its plugins logs with; pino satisfies it. Texts are constant, variable parts are fields
 * (`uid`, `role`, `proxy`, `peer` …). Never a secret in either.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger that adds `fields` to every line. */
  child(fields: object): Logger;
}

/** A logger that says nothing, for libraries used without one. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
