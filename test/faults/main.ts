/**
 * `npm run test:faults`: makes every fault with real processes and real traffic and shows what was promised and what was
 * seen. Progress goes to stderr, the table to stdout.
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
npm run test:faults                   makes all faults, half an hour
npm run test:faults -- --short        what every change has to pass, with small numbers
npm run test:faults -- kill disk      only faults whose name contains one of these
npm run test:faults -- --write        the results go to docs/reference/faults.md; what was not made stays there
npm run test:faults -- --help         this

Exit code 1 when a promise was not kept, 2 when it cannot be run as asked.
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
  if (values.write && values.short) throw new Error('--write is for the full numbers: leave --short away');
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
