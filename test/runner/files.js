/** Finds the test files, their kinds and what their comments declare. */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../setup.js';

/**
 * A test file.
 * @typedef {object} TestFile
 * @property {string} name      path from the root of the repository, without extension
 * @property {string} script    what node runs
 * @property {string} source    the text that was compiled
 * @property {boolean} real     uses real proxies or daemons, and has a longer time limit
 * @property {string[]} needs   what its `needs:` comment declares
 * @property {boolean} full     whether a comment `suite: full` moves it from `npm test` to `npm run test:full`
 */

const LEFT_OUT = new Set(['node_modules', 'dist', '.build', '.cache', '.git']);

/** Paths of all files below a folder with this ending, sorted. Skips generated folders and packages. */
function walk(folder, ending) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return LEFT_OUT.has(entry.name) ? [] : walk(path, ending);
      return entry.name.endsWith(ending) ? [path] : [];
    })
    .sort();
}

/** The words after `// key:` in a comment among the first ten lines, such as `// needs: haproxy, root`. */
function declared(key, source) {
  const head = source.split('\n', 10).join('\n');
  const list = new RegExp(`^(?://|\\s*\\*)\\s*${key}:(.*)$`, 'm').exec(head)?.[1] ?? '';
  return list.split(',').flatMap((word) => word.trim() || []);
}

function describe(name, script, path) {
  const source = readFileSync(path, 'utf8');
  const real = /\.(real|e2e)\.test$/.test(name);
  const full = declared('suite', source).includes('full');
  return { name, script, source, real, needs: declared('needs', source), full };
}

/**
 * The tests of the repository. They are found by their sources, so that the compiled file of a deleted test does not run.
 * @returns {TestFile[]}
 */
export function testFiles() {
  return walk(root, '.test.ts').map((path) => {
    const name = relative(root, path).slice(0, -'.ts'.length);
    return describe(name, join(root, '.build', `${name}.js`), path);
  });
}

/**
 * The JavaScript tests in any folder: for the tests of the runner.
 * @param {string} folder
 * @returns {TestFile[]}
 */
export function plainTestFiles(folder) {
  return walk(folder, '.test.js').map((path) => describe(relative(folder, path).slice(0, -'.js'.length), path, path));
}
