import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FAULTS } from './faults/all.js';
import { rowsIn, toTable } from './faults/fault.js';
import { toPage } from './faults/page.js';

const PAGE = new URL('../../docs/reference/faults.md', import.meta.url);

const s = suite('table of faults');

s('names exactly the faults that there are, with what is promised in them', async () => {
  const page = await readFile(PAGE, 'utf8');
  assert.equal(
    [...rowsIn(page).keys()],
    FAULTS.map(({ fault }) => fault),
  );
  for (const { fault, promised } of FAULTS) assert.ok(page.includes(`| ${fault} | ${promised} |`), fault);
});

s('no two faults have the same name', () => {
  assert.is(new Set(FAULTS.map(({ fault }) => fault)).size, FAULTS.length);
});

s('a promise that was not kept is marked, and no cell can break the table', () => {
  const results = [
    { fault: 'a', promised: 'this | that', seen: 'one\nthing', verdict: 'kept' },
    { fault: 'b', promised: 'x', seen: 'y', verdict: 'not kept' },
  ] as const;
  const table = toTable(results);
  assert.match(table, '\n| a | this \\| that | one thing |\n| b | x | **not kept**: y |\n');
});

s('a run of some faults leaves the lines of the others, and those of faults that are gone go', () => {
  const result = (fault: string, seen: string) => ({ fault, promised: 'p', seen, verdict: 'kept' }) as const;
  const before = toPage([result('b', 'old'), result('gone', 'old'), result('a', 'old')], '', ['a', 'b', 'gone']);
  const after = toPage([result('b', 'new')], before, ['a', 'b', 'c']);
  assert.equal(
    [...rowsIn(after)],
    [
      ['a', '| a | p | old |'],
      ['b', '| b | p | new |'],
    ],
  );
});

s.run();
