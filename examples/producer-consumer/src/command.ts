import { UsageError } from './arguments.js';

/**
 * Reads the command line with Node's `parseArgs` in `parse`. `--help` prints the text on stdout and ends the program.
 * @throws UsageError for an unknown flag, a missing value or an unexpected argument
 */
export function readFlags<T>(parse: () => T, help: string): T {
  if (process.argv.includes('--help')) {
    process.stdout.write(help);
    process.exit(0);
  }
  try {
    return parse();
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`${error.message}. See --help.`, { cause: error });
    throw error;
  }
}

/**
 * Runs a program and sets the exit status: the result of `main`, 2 after a UsageError, 1 after any other error. Errors
 * are printed on stderr. The signal aborts on the first SIGINT or SIGTERM; a second one ends the process immediately.
 */
export async function runCommand(main: (signal: AbortSignal) => Promise<number>): Promise<void> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort());
  try {
    process.exitCode = await main(interrupted.signal);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
