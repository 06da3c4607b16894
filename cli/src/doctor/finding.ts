import type { Advice } from '@scistream/core';
import { paint } from '../output.js';
import { explained } from '../system-error.js';

/** The result of a check. */
export interface Finding extends Advice {
  /** The subject of the check, in one or two words. */
  readonly check: string;
}

export const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message, suggestions: [] });

/** A finding that may cause failures later, or for some users. */
export const warning = (check: string, message: string, ...suggestions: readonly string[]): Finding => ({
  check,
  level: 'warning',
  message,
  suggestions,
});

/** A finding that makes streams or the daemon fail. */
export const problem = (check: string, message: string, ...suggestions: readonly string[]): Finding => ({
  check,
  level: 'problem',
  message,
  suggestions,
});

/** Runs a check; an error that it throws becomes a problem. */
export async function attempt(
  check: string,
  look: () => Promise<Finding | readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    const found = await look();
    return 'level' in found ? [found] : found;
  } catch (error) {
    const { message, suggestions } = explained(error);
    return [problem(check, message, ...suggestions)];
  }
}

const STYLES = { ok: 'green', warning: 'yellow', problem: 'red' } as const;

/** Formats one line per finding, followed by its suggestions. */
export function findingsText(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ check, level, message, suggestions }) => [
    `${paint(STYLES[level], level.padEnd(7), process.stdout)}  ${check}: ${message}`,
    ...suggestions.map((suggestion) => `           try: ${suggestion}`),
  ]);
  const count = (wanted: Finding['level']): number => findings.filter(({ level }) => level === wanted).length;
  return [...lines, `problems: ${count('problem')}, warnings: ${count('warning')}`].join('\n');
}
