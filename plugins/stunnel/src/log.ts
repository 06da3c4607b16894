/** What a log of stunnel (debug level 6) says about the configuration that was read last. */
export type ConfigState =
  { readonly state: 'reading' } | { readonly state: 'in force' } | { readonly state: 'refused'; readonly why: string };

const SUCCESSFUL = 'Configuration successful';
const FAILURE = /LOG[0-3]\[ui\]: (?:Configuration failed|Failed to reload|Binding service \[.*\] failed)/;
const ERROR_LINE = /LOG[0-3]\[ui\]: (.*)$/;

/**
 * Whether services of the given names accept connections. stunnel says, in this order, `Reading configuration …`,
 * `Configuration successful` and `Service [name] (FD=3) bound to …` for each; connections accepted after that go where
 * the new configuration says, because one thread does both.
 * @param log The last lines, as many as there are; only those since the last reload count.
 */
export function configState(log: string, services: readonly string[]): ConfigState {
  const lines = log.split('\n');
  const since = lines.slice(lines.findLastIndex((line) => line.includes('Reading configuration from')) + 1);
  if (since.some((line) => FAILURE.test(line))) {
    const errors = since.flatMap((line) => ERROR_LINE.exec(line)?.[1] ?? []);
    return { state: 'refused', why: errors.join('; ') };
  }
  const bound = since.slice(since.findLastIndex((line) => line.includes(SUCCESSFUL)) + 1);
  const accepts = (name: string): boolean =>
    bound.some((line) => line.includes(`[ui]: Service [${name}] `) && line.includes(' bound to '));
  return { state: services.every(accepts) ? 'in force' : 'reading' };
}
