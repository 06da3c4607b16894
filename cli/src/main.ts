import { run } from '@oclif/core/run';
import { guardOutput, isLostOutput, lostOutput, reportError } from './output.js';
import { unknownCommand } from './unknown-command.js';

/**
 * Runs one command line; on an error, exits with the exit code of its area. Called once, by the programs in `bin`.
 * @param root `import.meta.url` of the program.
 * @param args The command line, including the name of the command.
 */
export async function main(root: string, args: readonly string[]): Promise<void> {
  const asked = args[1] === '--version' ? ['--version'] : [...args];
  const own = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined);
  const reporting = { json: own.includes('--json'), verbose: own.includes('--verbose'), command: '' };
  guardOutput();
  process.on('uncaughtException', (error) => {
    if (isUnusedParser(error) || isLostOutput(error)) return;
    reportError(error, reporting);
    process.exit();
  });
  try {
    await run(asked, root);
  } catch (error) {
    if (isExit(error)) process.exitCode = error.oclif.exit;
    else reportError((await unknownCommand(error)) ?? error, reporting);
  }
  const unwritten = await lostOutput();
  if (unwritten) {
    // A command that has failed keeps its exit code.
    const failed = process.exitCode;
    reportError(unwritten, reporting);
    process.exitCode = failed || process.exitCode;
  }
  if (process.exitCode !== undefined && process.exitCode !== 0) process.exit();
}

/**
 * Whether the HTTP/1 parser of `fetch` cannot reserve its 10 GB of address space (`ulimit -v`). Node.js starts it as soon
 * as a library uses `Headers`, and SciStream never uses it: the control protocol is HTTP/2.
 */
const isUnusedParser = (error: Error): boolean =>
  error instanceof RangeError && error.message.startsWith('WebAssembly.instantiate(): Out of memory');

function isExit(error: unknown): error is { oclif: { exit: number } } {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EEXIT';
}
