/**
 * `npm run test:faults`: injects every fault with real processes and real traffic, and shows what was promised and what
 * was seen. Progress goes to stderr, the table to stdout.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '@scistream/core';
import { FAULTS } from './all.js';
import { toTable, type Result } from './fault.js';
import { toPage } from './page.js';
import { runFault } from './runner.js';
import { ownTemporary } from './sweep.js';

const PAGE = new URL('../../../docs/reference/faults.md', import.meta.url);

const USAGE = `
npm run test:faults                   injects all faults, in about 30 minutes
npm run test:faults -- --short        only the short ones, with small numbers, as npm run test:full does
npm run test:faults -- kill disk      only faults whose name contains one of these words
npm run test:faults -- --write        writes the results to docs/reference/faults.md; faults that were not run stay there
npm run test:faults -- --help         prints this text

Exit code 1 if a promise was not kept, 2 if the arguments are wrong.
`.trimStart();

const say = (text: string): void => void process.stderr.write(`faults: ${text}\n`);

interface Wanted {
  readonly help: boolean;
  readonly short: boolean;
  readonly write: boolean;
  readonly filters: readonly string[];
}

function readArguments(): Wanted {
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { help: flag, short: flag, write: flag },
  });
  if (values.write && values.short) throw new Error('--write needs the full numbers: omit --short');
  return { ...values, filters: positionals };
}

async function main({ help, short, write, filters }: Wanted): Promise<number> {
  if (help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const chosen = FAULTS.filter(
    (fault) =>
      (fault.short || !short) && (filters.length === 0 || filters.some((filter) => fault.fault.includes(filter))),
  );
  if (chosen.length === 0) throw new Error(`no fault has ${filters.join(' or ')} in its name`);
  const results: Result[] = [];
  for (const [i, fault] of chosen.entries()) {
    const begun = performance.now();
    const result = await runFault(fault, { full: !short, say });
    results.push(result);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    say(`${i + 1}/${chosen.length} ${fault.fault}: ${result.verdict}: ${result.seen} (${seconds} s)`);
  }
  process.stdout.write(toTable(results));
  if (write) {
    const names = FAULTS.map(({ fault }) => fault);
    await writeFile(PAGE, toPage(results, await readFile(PAGE, 'utf8').catch(() => ''), names));
  }
  return results.some(({ verdict }) => verdict === 'not kept') ? 1 : 0;
}

const sweep = ownTemporary();
for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
  process.once(signal, () => {
    sweep();
    process.exit(128 + number);
  });
}
try {
  process.exitCode = await main(readArguments());
} catch (error) {
  say(messageOf(error));
  process.exitCode = 2;
} finally {
  sweep();
}
