import { rowsIn, toTable, type Result } from './fault.js';

const TEXT = `<!-- Written by \`npm run test:faults -- --write\` from the results of the run. -->
# Faults

What SciStream promises if something fails, and what a test run saw. The run uses real daemons and proxies, and connections
that carry data in both directions all the time, with a checksum at both ends. "Nothing left" means no process, no listening
port and no file of a stream. \`npm run test:full\` injects some of these faults, \`npm run test:faults\` all.
`;

/**
 * The text of docs/reference/faults.md.
 * @param results Of a run. @param before The current text; lines of faults that the run left out are kept.
 * @param faults The names of all faults, in the order of the table.
 */
export function toPage(results: readonly Result[], before: string, faults: readonly string[]): string {
  const [head, line] = toTable([]).trimEnd().split('\n');
  const rows = new Map([...rowsIn(before), ...rowsIn(toTable(results))]);
  const table = [head, line, ...faults.flatMap((fault) => rows.get(fault) ?? [])];
  return `${TEXT}\n${table.join('\n')}\n`;
}
