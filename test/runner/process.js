/** Runs one test file in its own process and home, and removes everything that it leaves. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { root, searchPath } from '../setup.js';
import { REPORT_FOLDER } from './contract-table.js';

/** Grace period for processes that a test has just ended, and for killed ones, in ms. */
const GRACE_MS = 2000;
const LOOK_EVERY_MS = 50;

/** Running test files: process group → id and home. */
const running = new Map();

/**
 * The environment of one test file. Programs write to folders below `home` by default, and the developer's settings do
 * not reach a test. Exceptions are SCISTREAM_TEST_… and SCISTREAM_FUZZ_…, which are switches for tests.
 */
function environment(home, id) {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^XDG_/.test(name) && (!/^SCISTREAM_/.test(name) || /^SCISTREAM_(TEST|FUZZ)_/.test(name)),
  );
  const folder = (name) => {
    const path = join(home, name);
    mkdirSync(path, { mode: 0o700 });
    return path;
  };
  return {
    ...Object.fromEntries(kept),
    PATH: searchPath,
    HOME: folder('home'),
    TMPDIR: folder('tmp'),
    SCISTREAM_DATA_DIR: folder('data'),
    SCISTREAM_CONFIG_DIR: folder('config'),
    SCISTREAM_CACHE_DIR: folder('cache'),
    SCISTREAM_STATE_DIR: folder('state'),
    SCISTREAM_CONTRACT_REPORT: folder(REPORT_FOLDER),
    SCISTREAM_TEST_ID: id,
  };
}

/** Reads a file of /proc; empty for a process that has ended or belongs to another user. */
function readProc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** Processes whose environment contains the id or the temporary folder of a run, detached ones included. */
function processesOf({ id, home }) {
  if (process.platform !== 'linux') return [];
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  // Proxies run with a reduced environment, which includes TMPDIR.
  const marks = [`SCISTREAM_TEST_ID=${id}`, `TMPDIR=${join(home, 'tmp')}`];
  const marked = (pid) =>
    readProc(pid, 'environ')
      .split('\0')
      .some((entry) => marks.includes(entry));
  return pids.filter(marked).map(Number);
}

/** Kills a process, or a group if the number is negative. Ignores processes that have ended. */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Waits briefly for processes that are ending, then kills the rest. Returns what it killed. */
async function sweep(run) {
  const deadline = Date.now() + GRACE_MS;
  while (processesOf(run).length > 0 && Date.now() < deadline) await pause(LOOK_EVERY_MS);
  const found = new Map();
  while (Date.now() < deadline + GRACE_MS) {
    const pids = processesOf(run);
    if (pids.length === 0) break;
    for (const pid of pids) {
      found.set(pid, `${pid} ${readProc(pid, 'cmdline').replaceAll('\0', ' ').trim()}`);
      kill(pid);
    }
    await pause(LOOK_EVERY_MS);
  }
  return [...found.values()];
}

/** Kills all test files when the runner ends: they have their own process groups, so Ctrl-C does not reach them. */
export function killAll() {
  for (const [group, run] of running) {
    kill(-group);
    processesOf(run).forEach(kill);
  }
}

/**
 * Runs one test file. Its output goes to a file, because a child that outlives the test would keep a pipe open.
 * @param {{ node: string, script: string, home: string, id: string, limit: number, env: object }} job
 *   node: the binary; home: a folder for this run only; id: unique; limit: seconds; env: additional environment
 * @returns {Promise<{ output: string, code: number | null, signal: string | null, limit?: number, leftOver: string[] }>}
 */
export async function runFile({ node, script, home, id, limit, env }) {
  mkdirSync(home, { mode: 0o700 });
  const log = join(home, 'output');
  const fd = openSync(log, 'w', 0o600);
  const child = spawn(node, ['--enable-source-maps', script], {
    cwd: root,
    detached: true,
    env: { ...environment(home, id), ...env },
    stdio: ['ignore', fd, fd],
  });
  closeSync(fd);
  const run = { id, home };
  running.set(child.pid, run);
  let overdue;
  const timer = setTimeout(() => {
    overdue = limit;
    kill(-child.pid);
    processesOf(run).forEach(kill);
  }, limit * 1000);
  try {
    const [code, signal] = await once(child, 'exit');
    return { code, signal, limit: overdue, leftOver: await sweep(run), output: readFileSync(log, 'utf8') };
  } finally {
    clearTimeout(timer);
    running.delete(child.pid);
  }
}
