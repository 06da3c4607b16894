import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { styleText } from 'node:util';
import { messageOf, SciStreamError, systemCode } from '@scistream/core';
import { printable, printableJson, printableLine } from '@scistream/core/terminal';
import { causeOf, explained } from './system-error.js';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Whether a stream is a terminal that shows colour and progress (https://no-color.org). */
function isFancy(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Colours text for a stream, if the stream shows colour. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream): string {
  return isFancy(stream) ? styleText(style, text) : text;
}

/** Makes text printable that may contain a part from elsewhere. Keeps line breaks and the colours of {@link paint}. */
export const forTerminal = (text: string): string =>
  text
    .split(/(\u001b\[\d+m)/)
    .map((part, i) => (i % 2 === 0 ? printable(part) : part))
    .join('');

/** A JSON document and the end of its last line; on one line unless `pretty`. No terminal interprets a part of it. */
export const jsonText = (document: unknown, pretty = true): string =>
  `${printableJson(JSON.stringify(document, undefined, pretty ? 2 : undefined))}\n`;

/** Prints a JSON document on stdout, on one line unless `pretty`. */
export function printJson(document: unknown, pretty = true): void {
  process.stdout.write(jsonText(document, pretty));
}

/** Writes to stdout, and returns when the text is written. @throws SCI_OUTPUT_WRITE */
export async function writeOut(text: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    throw outputError(lost ?? error);
  }
}

/** The first error of stdout, and whether it has been reported. */
let lost: Error | undefined;
let reported = false;
const outputErrors = new WeakSet<Error>();

/** Called once, before the first output. A terminal that was closed must not end the program before it has cleaned up. */
export function guardOutput(): void {
  process.stdout.on('error', (error: Error) => {
    lost ??= error;
    outputErrors.add(error);
  });
  process.stderr.on('error', () => undefined);
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  // When it exits, Node.js resets its terminals, and aborts if one is gone. It skips closed descriptors.
  process.on('exit', () => terminals.filter((fd) => !isatty(fd)).forEach((fd) => closeSync(fd)));
}

/** Whether an uncaught error is an error of stdout, which oclif throws again. */
export const isLostOutput = (error: Error): boolean => outputErrors.has(error);

/** Waits until stdout is written. @returns SCI_OUTPUT_WRITE if output was lost and the user has not been told. */
export async function lostOutput(): Promise<SciStreamError | undefined> {
  await writeOut('').catch(() => undefined);
  return lost && !reported ? outputError(lost) : undefined;
}

function outputError(cause: unknown): SciStreamError {
  const why = systemCode(cause) === 'EPIPE' ? 'its reader has closed the pipe' : (causeOf(cause) ?? messageOf(cause));
  return new SciStreamError('SCI_OUTPUT_WRITE', `The output is incomplete: ${why}.`, { cause });
}

/** Converts an oclif usage error. */
function usageError(message: string, command: string): SciStreamError {
  const text = message
    .replace(/\nSee more help with --help$/, '')
    .replace(/^The following errors? occurred:/, '')
    // Remove a note about greedy flags, which is wrong with `multipleNonGreedy`.
    .replace(/\n\s*Note: --.* allows? multiple values.*/s, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
  return new SciStreamError('SCI_USAGE', /[.?!]$/.test(text) ? text : `${text}.`, {
    suggestions: [`scistream ${command ? `${command} ` : ''}--help`],
  });
}

interface Reporting {
  readonly json: boolean;
  readonly verbose: boolean;
  /** Words of the command, for the `--help` suggestion. */
  readonly command: string;
}

/**
 * Prints an error and sets the exit code of the process: on stderr one sentence with the code in brackets, then `Try:`
 * lines; with `json` one JSON document on stdout, except for SCI_OUTPUT_WRITE.
 */
export function reportError(thrown: unknown, { json, verbose, command }: Reporting): void {
  const error = isUsage(thrown) ? usageError(thrown.message, command) : explained(thrown);
  process.exitCode = error.oclif.exit;
  if (error.code === 'SCI_OUTPUT_WRITE') reported = true;
  // One line, because some commands print one document per line. An error of stdout itself can only go to stderr.
  if (json && error.code !== 'SCI_OUTPUT_WRITE') printJson({ error }, false);
  else process.stderr.write(describe(error));
  if (verbose) process.stderr.write(`${printable(stacks(SciStreamError.is(thrown) ? error : thrown))}\n`);
}

function describe(error: SciStreamError): string {
  const head = `${paint('red', 'Error:', process.stderr)} ${error.message} [${error.code}]`;
  return [head, ...error.suggestions.map((suggestion) => `Try: ${suggestion}`), ''].join('\n');
}

function stacks(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // The message of a server could forge lines of the stack.
  const own = (thrown.stack ?? thrown.message).replace(thrown.message, () => printableLine(thrown.message));
  return thrown.cause === undefined ? own : `${own}\nCaused by: ${stacks(thrown.cause)}`;
}

/** Whether oclif rejected the command line; its errors carry an exit code. */
function isUsage(error: unknown): error is Error {
  if (!(error instanceof Error) || SciStreamError.is(error)) return false;
  if (!('oclif' in error) || typeof error.oclif !== 'object' || error.oclif === null) return false;
  return 'exit' in error.oclif && typeof error.oclif.exit === 'number' && error.oclif.exit !== 0;
}

/** Formats rows in columns below their headings, without trailing spaces. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return [paint('dim', line(headings), process.stdout), ...rows.map(line)].join('\n');
}
