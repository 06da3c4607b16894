import { parseArgs } from 'node:util';

/** The parts of the benchmark, in the order they run. */
export const PARTS = ['relay', 'haproxy', 'netns', 'setup', 'soak'] as const;
export type PartName = (typeof PARTS)[number];

/** What was asked for. */
export interface Settings {
  readonly rounds: number;
  readonly seconds: number;
  readonly parts: readonly PartName[];
  readonly json: boolean;
  readonly help: boolean;
}

/** Something on the command line that makes no sense; the message says what. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run bench -- [flags]

  --rounds N      rounds of each comparison, default 5
  --seconds N     length of each throughput measurement, default 3
  --only A,B      only these parts: ${PARTS.join(', ')}
  --json          one JSON document instead of Markdown
`;

/** Parses the command line. @throws UsageError */
export function parseSettings(args: readonly string[]): Settings {
  const { rounds, seconds, only, json, help } = read(args);
  return { rounds: whole('rounds', rounds), seconds: whole('seconds', seconds), parts: partsOf(only), json, help };
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '3' },
        only: { type: 'string', default: PARTS.join() },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function whole(flag: string, text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new UsageError(`--${flag} ${text} is not a whole number from 1 to 999.`);
}

function partsOf(text: string): readonly PartName[] {
  const wanted = text.split(',');
  const unknown = wanted.find((name) => !PARTS.some((part) => part === name));
  if (unknown !== undefined) throw new UsageError(`--only ${unknown} is not one of ${PARTS.join(', ')}.`);
  return PARTS.filter((part) => wanted.includes(part));
}
