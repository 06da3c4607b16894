/** Each promise of SECURITY.md names the tests that keep it, and these tests exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What is wrong with the list of promises below the heading `## Guarantees` of a page. */
function complaints(page: string): readonly string[] {
  const [, section = ''] = /^## Guarantees\n(.*?)^## /ms.exec(page) ?? [];
  const promises = section.split(/^(?=- )/m).slice(1);
  if (promises.length === 0) return ['no promises'];
  return promises.flatMap((promise) => {
    const tests = [...promise.matchAll(/^ {2}- `([^`]+)`: "([^"]+)"$/gm)];
    const lines = promise.split('\n').filter((line) => line.startsWith('  - '));
    if (tests.length === 0 || lines.length !== tests.length) return [`no test, or an unreadable one: ${promise}`];
    return tests.flatMap(([, file = '', title = '']) =>
      hasTest(file, title) ? [] : [`${file} has no test "${title}"`],
    );
  });
}

function hasTest(file: string, title: string): boolean {
  // The cases of the contract kit, which runs with every proxy, are in core/src/testing.
  if (!/\.test\.ts$|^core\/src\/testing\//.test(file) || !existsSync(join(ROOT, file))) return false;
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [`'${title}'`, `"${title}"`, `\`${title}\``].some((literal) => text.includes(literal));
}

const s = suite('promises of SECURITY.md');

s('every promise names its tests, and they exist', () => {
  assert.is(complaints(readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')).join('\n'), '');
});

s('a promise without a test, and a test that does not exist, are reported', () => {
  const page = (promise: string): string => `## Guarantees\n\n${promise}\n\n## Limitations\n`;
  const title = 'every promise names its tests, and they exist';
  assert.equal(complaints(page(`- Sure.\n  - \`test/security.test.ts\`: "${title}"`)), []);
  assert.is(complaints(page('- Sure.')).length, 1);
  assert.is(complaints(page(`- Sure.\n  - \`test/security.test.ts\`: "${title}!"`)).length, 1);
  assert.is(complaints(page(`- Sure.\n  - \`test/nothing.test.ts\`: "${title}"`)).length, 1);
  assert.is(complaints(page(`- Sure.\n  - \`test/security.test.ts\`: "${title}"\n  - a test`)).length, 1);
  assert.is(complaints('# Security\n').length, 1);
});

s.run();
