/** Commands of the legacy client. Everything else is a command of `stream`. */
const OLD = new Set(['inbound-request', 'outbound-request', 'release']);
/** Commands with the same name in `s2uc` and `scistream`. */
const SAME = new Set(['login', 'logout', 'whoami', 'check-auth']);

/**
 * Translates a command line of `s2uc` into command lines of `scistream`: the legacy commands, and all commands of
 * `stream` without that word.
 * @returns command lines to run one after another
 */
export function s2ucArguments(typed: readonly string[]): readonly (readonly string[])[] {
  const [first, ...rest] = typed;
  if (first === '--version') return [typed];
  if (first === undefined || first === '--help' || first === '-h' || first === 'help')
    return [
      ['s2uc', '--help'],
      ['stream', '--help'],
    ];
  const name = first.replaceAll('_', '-');
  if (SAME.has(name)) return [[name, ...rest]];
  return OLD.has(name) ? [['s2uc', name, ...rest]] : [['stream', ...typed]];
}
