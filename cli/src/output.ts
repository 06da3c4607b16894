import { SciStreamError } from '@scistream/core';
import { styleText } from 'node:util';
import { explained } from './system-error.js';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Whether a stream is a terminal that shows colour and progress (https://no-color.org). */
function isFancy(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Colours text for a stream, if the stream shows colour. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream): string {
  return isFancy(stream) ? styleText(style, text) : text;
}

/** Prints a JSON document on stdout, on one line unless `pretty`. */
export function printJson(document: unknown, pretty = true): void {
  process.stdout.write(`${JSON.stringify(document, undefined, pretty ? 2 : undefined)}\n`);
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
 * lines; with `json` one JSON document on stdout.
 */
export function reportError(thrown: unknown, { json, verbose, command }: Reporting): void {
  const error = isUsage(thrown) ? usageError(thrown.message, command) : explained(thrown);
  process.exitCode = error.oclif.exit;
  // One line, because some commands print one document per line.
  if (json) printJson({ error }, false);
  else process.stderr.write(describe(error));
  if (verbose) process.stderr.write(`${stacks(SciStreamError.is(thrown) ? error : thrown)}\n`);
}

function describe(error: SciStreamError): string {
  const head = `${paint('red', 'Error:', process.stderr)} ${error.message} [${error.code}]`;
  return [head, ...error.suggestions.map((suggestion) => `Try: ${suggestion}`), ''].join('\n');
}

function stacks(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.stack ?? thrown.message;
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
