/** What is promised: how many cases a run has, and that each of them is looked for somewhere. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CASES } from './hunt.js';

const s = suite('budget');

s('a run has at least 100 000 cases', () => {
  const all = Object.values(CASES).reduce((sum, count) => sum + count, 0);
  assert.ok(all >= 100_000, `${all} cases`);
});

s('each property is in one of the files', async () => {
  const files = (await readdir('test/hostile')).filter((name) => name.endsWith('.test.ts'));
  const texts = await Promise.all(files.map((name) => readFile(join('test/hostile', name), 'utf8')));
  for (const name of Object.keys(CASES)) {
    assert.is(texts.filter((text) => new RegExp(`s\\(\\s*'${name}'`).test(text)).length, 1, name);
  }
});

s.run();
