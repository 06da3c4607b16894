/** Commands of the older client that stand for themselves; everything else is a command of `stream`. */
const OLD = new Set(['inbound-request', 'outbound-request', 'release']);
/** Commands that have the same name here and there. */
const SAME = new Set(['login', 'logout', 'whoami', 'check-auth']);

/**
 * What `s2uc` means in terms of `scistream`: its old commands under their old names, and all of `stream` without that word.
 * @returns Command lines to run one after another.
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
