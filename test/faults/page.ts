import { toTable, type Result } from './fault.js';

const HEAD = `<!-- Written by \`npm run test:faults -- --write\` from what the run has seen. -->
# Faults

What SciStream promises when something goes wrong, and what was seen when it did: real daemons and proxies, and connections
on which data goes there and back all the time with a checksum at both ends. "Nothing left" means no process, no listening
port and no file of a stream. \`npm test\` makes a part of these faults, \`npm run test:faults\` all of them.
`;

/** The text of docs/reference/faults.md. */
export const toPage = (results: readonly Result[]): string => `${HEAD}\n${toTable(results)}`;
