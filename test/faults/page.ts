import { rowsIn, toTable, type Result } from './fault.js';

const TEXT = `<!-- Written by \`npm run test:faults -- --write\` from what the run has seen. -->
# Faults

What SciStream promises when something goes wrong, and what was seen when it did: real daemons and proxies, and connections
on which data goes there and back all the time with a checksum at both ends. "Nothing left" means no process, no listening
port and no file of a stream. \`npm test\` makes a part of these faults, \`npm run test:faults\` all of them.
`;

/**
 * The text of docs/reference/faults.md.
 * @param results Of a run. @param before The text so far, whose lines stay for faults that the run did not make.
 * @param faults The names of all that there are, in the order of the table.
 */
export function toPage(results: readonly Result[], before: string, faults: readonly string[]): string {
  const [head, line] = toTable([]).trimEnd().split('\n');
  const rows = new Map([...rowsIn(before), ...rowsIn(toTable(results))]);
  const table = [head, line, ...faults.flatMap((fault) => rows.get(fault) ?? [])];
  return `${TEXT}\n${table.join('\n')}\n`;
}
