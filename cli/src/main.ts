import { run } from '@oclif/core/run';
import { flush } from '@oclif/core/flush';
import { quote, SciStreamError, systemCode } from '@scistream/core';
import { reportError } from './output.js';

/**
 * Runs one command line and ends the process with the exit code of experience.md when it failed. Called once, by the
 * programs in `bin`.
 * @param root `import.meta.url` of the program.
 * @param args What was typed, a leading command name included.
 */
export async function main(root: string, args: readonly string[]): Promise<void> {
  const asked = args[1] === '--version' ? ['--version'] : [...args];
  const own = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined);
  const reporting = { json: own.includes('--json'), verbose: own.includes('--verbose'), command: '' };
  // `scistream … | head` is no defect. Said twice, because oclif would go on without a reader of stdout.
  process.stdout.on('error', exitUnread);
  process.on('uncaughtException', (error) => {
    exitUnread(error);
    reportError(error, reporting);
    process.exit();
  });
  try {
    await run(asked, root);
    await flush();
  } catch (error) {
    if (isExit(error)) process.exit(error.oclif.exit);
    reportError((await unknownCommand(error)) ?? error, reporting);
  }
  if (process.exitCode !== undefined && process.exitCode !== 0) process.exit();
}

function exitUnread(error: Error): void {
  if (systemCode(error) === 'EPIPE') process.exit(process.exitCode ?? 0);
}

function isExit(error: unknown): error is { oclif: { exit: number } } {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EEXIT';
}

/** The error for a command there is not, with the one that was probably meant. */
async function unknownCommand(error: unknown): Promise<SciStreamError | undefined> {
  const typed = error instanceof Error ? /^command (.+) not found$/.exec(error.message)?.[1] : undefined;
  if (typed === undefined) return undefined;
  const [{ nearest }, { COMMANDS }] = await Promise.all([
    import('@scistream/core/config'),
    import('./commands/index.js'),
  ]);
  const name = typed.replaceAll(':', ' ');
  const names = Object.keys(COMMANDS).map((id) => id.replaceAll(':', ' '));
  // Where the topic is right only the rest is compared, or a word in it that means nothing would be near to `stream down`.
  const topic = `${name.split(' ', 1)[0] ?? ''} `;
  const known = names.some((one) => one.startsWith(topic)) ? topic : '';
  const below = names.flatMap((one) => (one.startsWith(known) ? [one.slice(known.length)] : []));
  const meant = nearest(name.slice(known.length), below);
  return new SciStreamError('SCI_USAGE', `There is no command ${quote(name)}.`, {
    suggestions: [`scistream ${known}${meant ?? '--help'}`],
  });
}
