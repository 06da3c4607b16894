/** State of the last read configuration according to the log of stunnel (debug level 6). */
export type ConfigState =
  { readonly state: 'reading' } | { readonly state: 'active' } | { readonly state: 'refused'; readonly why: string };

/**
 * A line of the thread that reads configurations (`ui`): severity and text. The pattern is anchored, because lines of
 * connections (`LOG4[7]: …`) can quote text from peers, such as certificate subjects.
 */
const LINE = /^[^[\]]*LOG(\d)\[ui\]: (.*)$/;
const READING = 'Reading configuration from';
const SUCCESSFUL = 'Configuration successful';
const FAILURE = /^(?:Configuration failed|Failed to reload|Binding service \[.*\] failed)/;
/** Severities from here to 0 (emergency) are errors. */
const ERROR = 3;

/**
 * Whether services with the given names accept connections. stunnel writes, in this order, `Reading configuration …`,
 * `Configuration successful` and `Service [name] (FD=3) bound to …` for each. Later connections use the new
 * configuration, because one thread does both.
 * @param log The available last lines; only those since the last reload count.
 */
export function configState(log: string, services: readonly string[]): ConfigState {
  const lines = log.split('\n').flatMap((line) => {
    const [, severity, text = ''] = LINE.exec(line) ?? [];
    return severity === undefined ? [] : [{ text, error: Number(severity) <= ERROR }];
  });
  const since = lines.slice(lines.findLastIndex(({ text }) => text.startsWith(READING)) + 1);
  if (since.some(({ text, error }) => error && FAILURE.test(text))) {
    const errors = since.filter(({ error }) => error).map(({ text }) => text);
    return { state: 'refused', why: errors.join('; ') };
  }
  const bound = since.slice(since.findLastIndex(({ text }) => text.startsWith(SUCCESSFUL)) + 1);
  const accepts = (name: string): boolean =>
    bound.some(({ text }) => text.startsWith(`Service [${name}] `) && text.includes(' bound to '));
  return { state: services.every(accepts) ? 'active' : 'reading' };
}
