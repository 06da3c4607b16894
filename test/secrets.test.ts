/** No file of the repository holds a secret. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const s = suite('secrets');

/** What the keys and tokens of well-known makers look like; the length keeps names and patterns out. */
const SECRETS: readonly RegExp[] = [
  /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*[A-Za-z0-9+/=\s]{60,}-----END/,
  /\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}/,
  /\b(?:ghp|gho|ghs|github_pat)_\w{30,}/,
  /\bnpm_[A-Za-z0-9]{36}\b/,
  /\bglpat-[\w-]{20,}/,
  /\bAKIA[0-9A-Z]{16}\b/,
  /\bxox[abprs]-[\w-]{20,}/,
  /\bscistream2\.[\w-]{400,}\.[0-9a-f]{8}\b/,
];

const found = (text: string): RegExp | undefined => SECRETS.find((secret) => secret.test(text));

s('no file that git knows holds a key, a token or a ticket', () => {
  const files = execFileSync('git', ['ls-files', '-z'], { encoding: 'utf8', maxBuffer: 1e8 })
    .split('\0')
    .filter(Boolean);
  assert.ok(files.length > 100, `${files.length} files`);
  const present = files.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
  const guilty = present.filter((file) => found(readFileSync(file, 'latin1')));
  assert.equal(guilty, []);
});

s('the patterns find what they should', () => {
  const key = `-----BEGIN ${'PRIVATE'} KEY-----\n${'A'.repeat(64)}\n-----END`;
  for (const text of [
    key,
    `gh${'p_'}${'a'.repeat(36)}`,
    `eyJ${'a'.repeat(30)}.eyJ${'b'.repeat(30)}.${'c'.repeat(30)}`,
  ]) {
    assert.ok(found(text), text);
  }
  assert.is(found('-----BEGIN CERTIFICATE-----'), undefined);
});

s.run();
