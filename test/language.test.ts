/** The texts of the repository use the words of docs/style.md. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WORDS, findWords } from './language-words.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Paths that are checked, with every file type in TEXT. Extend this list to check more folders. */
const CHECKED: readonly RegExp[] = [
  /^(?:README|CONTRIBUTING|SECURITY|CHANGELOG|UPGRADING)\.md$/,
  /^(?:docs|core|cli|plugins|templates|examples|test)\//,
];

/** Paths that are not checked: the word list, and generated code. */
const NOT_CHECKED: readonly RegExp[] = [
  /^docs\/style\.md$/,
  /^test\/language(?:-words|\.test)\.ts$/,
  /^core\/src\/wire\/gen\//,
];

const TEXT = /\.(?:md|ts|js|proto|njk|conf|cfg|service|yaml|yml|py|sh)$/;
const LEFT_OUT = new Set(['node_modules', 'dist', '.build', '.cache', '.git']);

/** Paths of all text files below a folder, relative to the repository. */
function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return LEFT_OUT.has(entry.name) ? [] : walk(path);
      return entry.isFile() && TEXT.test(entry.name) ? [relative(ROOT, path)] : [];
    })
    .sort();
}

const matches = (path: string, patterns: readonly RegExp[]): boolean => patterns.some((pattern) => pattern.test(path));

/** What is wrong in one text, as `path:line: "found": write this`. */
const complaints = (text: string, path: string): string[] =>
  findWords(text, path).map(({ line, found, write }) => `${path}:${line}: "${found}": write "${write}"`);

const s = suite('language');

s('texts use no wording of the word list', () => {
  const paths = walk(ROOT).filter((path) => matches(path, CHECKED) && !matches(path, NOT_CHECKED));
  assert.ok(paths.includes('README.md') && paths.includes('docs/guide/gateway.md'), paths.join(' '));
  const wrong = paths.flatMap((path) => complaints(readFileSync(join(ROOT, path), 'utf8'), path));
  assert.is(wrong.join('\n'), '');
});

s('docs/style.md lists every entry', () => {
  const page = readFileSync(join(ROOT, 'docs/style.md'), 'utf8');
  const rows = WORDS.map(({ not, write }) => `| ${not} | ${write} |`);
  assert.is(rows.filter((row) => !page.includes(row)).join('\n'), '');
});

s('every pattern finds its example and accepts what to write instead', () => {
  for (const { not, write } of WORDS) {
    assert.ok(
      findWords(not).some((finding) => finding.write === write),
      not,
    );
    assert.equal(findWords(write), [], write);
  }
});

s('a bad sentence is reported with file, line and words', () => {
  const text = '# Streams\n\nA release that is asked\nfor is made again at once.\n';
  assert.equal(complaints(text, 'docs/a.md'), [
    'docs/a.md:3: "is asked for": write "is requested"',
    'docs/a.md:4: "made again": write "is retried"',
    'docs/a.md:4: "at once": write "immediately; at the same time"',
  ]);
});

s('a phrase is found across the lines of a comment, and not across paragraphs', () => {
  for (const comment of ['/**\n * Restarts by\n * itself.\n */', '  // by\n  // itself', '# by\n# itself']) {
    assert.is(findWords(comment).length, 1, comment);
  }
  assert.equal(findWords('What we stand by\n\nItself a heading\n'), []);
});

s('the names of the protocol are accepted where the protocol is described', () => {
  assert.is(findWords('num_conn', 'docs/guide/gateway.md').length, 1);
  assert.is(findWords('num_conn', 'docs/reference/protocol.md').length, 0);
});

s('ordinary English is accepted', () => {
  for (const text of [
    'Proxies live on a gateway and take over 5 s to start.',
    'Start again after the check. Who calls this? A cut-off frequency, a shortcut, a cut of the data.',
    'The rules decide which callers may connect. There are no more gateways, and no longer any streams.',
    'For good reason, the server keeps the file as of late October.',
    '## Who calls it\n\nThe data server does.',
  ]) {
    assert.equal(findWords(text), [], text);
  }
});

s.run();
