/** Which test files there are, of which kind, and what each says it needs. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../setup.js';

/**
 * A test file.
 * @typedef {object} TestFile
 * @property {string} name      path from the root of the repository, without extension
 * @property {string} script    what node runs
 * @property {string} source    the text that was compiled
 * @property {boolean} real     uses real proxies or daemons: runs alone, and with a longer limit
 * @property {string[]} needs   what it declares in a `needs:` comment
 */

const LEFT_OUT = new Set(['node_modules', 'dist', '.build', '.cache', '.git']);

/** Paths of all files below a folder that end so, sorted, generated and foreign folders left out. */
function walk(folder, ending) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return LEFT_OUT.has(entry.name) ? [] : walk(path, ending);
      return entry.name.endsWith(ending) ? [path] : [];
    })
    .sort();
}

/** The needs in a comment `// needs: haproxy, root` among the first ten lines. */
function needsIn(source) {
  const head = source.split('\n', 10).join('\n');
  const list = /^(?:\/\/|\s*\*)\s*needs:(.*)$/m.exec(head)?.[1] ?? '';
  return list.split(',').flatMap((word) => word.trim() || []);
}

function describe(name, script, path) {
  const source = readFileSync(path, 'utf8');
  return { name, script, source, real: /\.(real|e2e)\.test$/.test(name), needs: needsIn(source) };
}

/**
 * The tests of the repository. They are found by their sources, so that what an earlier build left behind of a test
 * that is gone does not run.
 * @returns {TestFile[]}
 */
export function testFiles() {
  return walk(root, '.test.ts').map((path) => {
    const name = relative(root, path).slice(0, -'.ts'.length);
    return describe(name, join(root, '.build', `${name}.js`), path);
  });
}

/**
 * Tests in JavaScript in a folder of somebody's choice: the runner's own tests.
 * @param {string} folder
 * @returns {TestFile[]}
 */
export function plainTestFiles(folder) {
  return walk(folder, '.test.js').map((path) => describe(relative(folder, path).slice(0, -'.js'.length), path, path));
}
