import { parseArgs } from 'node:util';

/** The parts of the benchmark, in the order they run. */
export const PARTS = [
  'relay',
  'haproxy',
  'nginx',
  'encrypted',
  'netns',
  'docker',
  'times',
  'many',
  'store',
  'auth',
  'policy',
  'adoption',
  'crowd',
  'existing',
  'setup',
  'soak',
] as const;
export type PartName = (typeof PARTS)[number];

/** The settings of a run. */
export interface Settings {
  readonly rounds: number;
  readonly seconds: number;
  readonly parts: readonly PartName[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

/** A wrong argument; the message names it. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run bench -- [flags]

  --rounds N      rounds of each comparison, default 5
  --seconds N     length of each throughput measurement, default 1
  --quick         one round and smaller numbers: under three minutes instead of twelve
  --only A,B      only these parts: ${PARTS.join(', ')}
  --json          one JSON document instead of Markdown
`;

/** Parses the command line. @throws UsageError */
export function parseSettings(args: readonly string[]): Settings {
  const { rounds, seconds, only, quick, json, help } = read(args);
  const counts = { rounds: whole('rounds', rounds ?? (quick ? '1' : '5')), seconds: whole('seconds', seconds) };
  return { ...counts, parts: partsOf(only), quick, json, help };
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string', default: '1' },
        quick: { type: 'boolean', default: false },
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
