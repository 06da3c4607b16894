import { toSciStreamError, type Advice } from '@scistream/core';
import { paint } from '../output.js';

/** What a check found. */
export interface Finding extends Advice {
  /** What was looked at, in a word or two. */
  readonly check: string;
}

export const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message, suggestions: [] });

/** Something that works now, and may not later or not for everybody. */
export const warning = (check: string, message: string, ...suggestions: readonly string[]): Finding => ({
  check,
  level: 'warning',
  message,
  suggestions,
});

/** Something because of which streams or the daemon will fail. */
export const problem = (check: string, message: string, ...suggestions: readonly string[]): Finding => ({
  check,
  level: 'problem',
  message,
  suggestions,
});

/** What `look` found; what it throws is a problem. */
export async function attempt(
  check: string,
  look: () => Promise<Finding | readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    const found = await look();
    return 'level' in found ? [found] : found;
  } catch (error) {
    const { message, suggestions } = toSciStreamError(error);
    return [problem(check, message, ...suggestions)];
  }
}

const STYLES = { ok: 'green', warning: 'yellow', problem: 'red' } as const;

/** One line per finding, and what to do below it. */
export function findingsText(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ check, level, message, suggestions }) => [
    `${paint(STYLES[level], level.padEnd(7), process.stdout)}  ${check}: ${message}`,
    ...suggestions.map((suggestion) => `           try: ${suggestion}`),
  ]);
  const count = (wanted: Finding['level']): number => findings.filter(({ level }) => level === wanted).length;
  return [...lines, `${count('problem')} problems, ${count('warning')} warnings`].join('\n');
}
