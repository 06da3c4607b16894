/**
 * The test runner. `npm test` prepares the clone (test/setup.js) and runs test files two at a time, each in a process of
 * its own: first the fast files, then `*.real.test.ts` and `*.e2e.test.ts`. test/README.md describes the kinds of tests.
 *
 *     npm test                                all files without a `// suite: full` comment
 *     npm run test:full                       all files with it, and the fast files on the current LTS of Node.js
 *     npm test -- core/test/address           files whose path contains this text, with and without the comment
 *     npm test -- --fast | --real | --lts     files of these kinds; can be combined with paths
 *     npm run coverage                        the fast files, and how much of the sources they run; add --real for the rest
 *     npm test -- --limit 10                  seconds that a file may take, instead of 180 (fast) and 900 (real, e2e)
 *     npm test -- --in FOLDER                 *.test.js of that folder, without preparation: for tests of the runner
 *
 * A file whose first lines say `// needs: haproxy, root` is skipped if the machine does not have these; with CI=true that
 * is a failure. The results of the contract kit are printed as a table, proxies × runtimes. The last line is
 * `N passed, N failed`, counted in tests; a file that is broken as a whole counts as one failure. The exit code is 0 only
 * if nothing failed.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { contractTable, readResults } from './runner/contract-table.js';
import { startEngine } from './runner/engine.js';
import { plainTestFiles, testFiles } from './runner/files.js';
import { LTS, ltsNode } from './runner/node-lts.js';
import { isKnownNeed, unmetNeeds } from './runner/needs.js';
import { killAll, runFile } from './runner/process.js';
import { judge } from './runner/verdict.js';
import { SetupError, ensureBuilt, ensureInstalled, provision, root } from './setup.js';

/** Files that run at the same time. Fast tests wait more than they compute. */
const AT_ONCE = { fast: 3, real: 2 };
const LIMIT_SECONDS = { fast: 180, real: 900 };
/** How many characters are printed of the output of a failing file, from its end. */
const SHOWN = 32_768;

const strict = process.env.CI === 'true';
const totals = { passed: 0, failed: 0, skipped: 0 };
let started = 0;
const print = (text) => process.stdout.write(`${text}\n`);
const indent = (text) => text.trimEnd().replace(/^/gm, '    ');

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      fast: { type: 'boolean', default: false },
      real: { type: 'boolean', default: false },
      lts: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      coverage: { type: 'boolean', default: false },
      limit: { type: 'string' },
      in: { type: 'string' },
    },
  });
  const limit = values.limit === undefined ? undefined : Number(values.limit);
  if (limit !== undefined && !(limit > 0)) throw new SetupError(`--limit ${values.limit} is not a number of seconds`);
  const kinds = values.fast || values.real || values.lts;
  const selected = kinds || positionals.length > 0;
  return {
    fast: values.fast || !kinds,
    real: values.real || !kinds,
    lts: values.lts || (values.full && !selected && values.in === undefined),
    /** Which of both suites; undefined for both. */
    full: selected ? undefined : values.full,
    limit,
    coverage: values.coverage,
    folder: values.in,
    filters: positionals.map((filter) => filter.replace(/\.ts$/, '')),
  };
}

function fail(name, reason) {
  totals.failed += 1;
  print(`✘ ${name}: ${reason}`);
}

/** Counts something that cannot run here. */
function skip(name, reason) {
  if (strict) return fail(name, `not run, which CI=true does not allow: ${reason}`);
  totals.skipped += 1;
  print(`- ${name}: skipped: ${reason}`);
}

const usesDocker = ({ needs }) => needs.includes('docker');

/** Runs one file, prints its result and adds it to the totals. */
async function runOne(file, options) {
  const name = `${options.prefix}${file.name}`;
  const unknown = file.needs.filter((need) => !isKnownNeed(need));
  if (unknown.length > 0) return fail(name, `needs ${unknown.join(', ')}, which test/runner/needs.js does not know`);
  const missing = unmetNeeds(file.needs);
  if (missing.length > 0) return skip(name, `needs ${missing.join(' and ')}`);
  const number = String((started += 1));
  const home = join(options.temporary, number);
  const limit = options.limit ?? LIMIT_SECONDS[file.real ? 'real' : 'fast'];
  const env = usesDocker(file) ? await options.engine.environment() : {};
  const since = Date.now();
  const id = `${process.pid}-${number}`;
  const run = await runFile({ node: options.node, script: file.script, home, id, limit, env });
  const verdict = judge(run, file.source);
  for (const key of Object.keys(totals)) totals[key] += verdict[key];
  const skipped = verdict.skipped > 0 ? `, ${verdict.skipped} skipped` : '';
  const seconds = ((Date.now() - since) / 1000).toFixed(1);
  print(`${verdict.failed > 0 ? '✘' : '✔'} ${name}  ${verdict.passed}/${verdict.total}${skipped}  ${seconds} s`);
  if (verdict.failed > 0) {
    for (const reason of verdict.reasons) print(`    ${reason}`);
    print(indent(run.output.slice(-SHOWN)));
  }
}

/**
 * Runs jobs (a file with its options) one after another, each from the first queue that is not empty. Lanes share the
 * queues. They do not share a container engine, because tests list everything that is in one.
 */
async function runLane(queues, engine) {
  for (;;) {
    const job = queues.find(({ length }) => length > 0)?.shift();
    if (job === undefined) return;
    await runOne(job.file, { ...job.options, engine });
  }
}

const jobs = (files, options) => files.map((file) => ({ file, options }));

/**
 * Jobs for the second run of the fast tests. Their homes are in a separate folder, so that the contract table does not
 * count them. Downloads Node.js, so call it while no test runs.
 */
function jobsOnLts(fast, options) {
  if (process.versions.node.startsWith(`${LTS}.`)) return [];
  const lts = ltsNode();
  if ('reason' in lts) {
    skip('lts', lts.reason);
    return [];
  }
  const temporary = join(options.temporary, 'l');
  mkdirSync(temporary, { mode: 0o700 });
  return jobs(fast, { ...options, temporary, node: lts.node, prefix: 'lts:' });
}

/** The container engine of a lane. It starts with the first file that needs docker; the environment tells its address. */
function laneEngine() {
  let starting;
  const start = () =>
    startEngine().catch((error) => {
      fail('docker', error.message);
      return undefined;
    });
  return {
    environment: async () => {
      const engine = await (starting ??= start());
      return engine ? { SCISTREAM_TEST_DOCKER: engine.host, SCISTREAM_TEST_IMAGE: engine.image } : {};
    },
    stop: async () => (await starting)?.stop(),
  };
}

function prepare({ folder, real }) {
  if (folder !== undefined) return;
  ensureInstalled();
  ensureBuilt();
  if (real) provision();
}

/** The files to run on this Node.js, by kind, and the fast ones to run on the LTS. */
function select({ folder, filters, ...wanted }) {
  const all = folder === undefined ? testFiles() : plainTestFiles(folder);
  const named = filters.length === 0 ? all : all.filter(({ name }) => filters.some((part) => name.includes(part)));
  const inSuite = named.filter(({ full }) => wanted.full === undefined || full === wanted.full);
  const files = {
    fast: wanted.fast ? inSuite.filter(({ real }) => !real) : [],
    real: wanted.real ? inSuite.filter(({ real }) => real) : [],
    lts: wanted.lts ? named.filter(({ real }) => !real) : [],
  };
  if (Object.values(files).flat().length > 0) return files;
  throw new SetupError(`no test file${filters.length > 0 ? ` with ${filters.join(' or ')} in its path` : ''}`);
}

/** Prints what the test files ran of the sources, by folder and file. The key `c8` of package.json says which sources. */
function printCoverage(data) {
  const c8 = createRequire(join(root, 'package.json')).resolve('c8/bin/c8.js');
  const { status } = spawnSync(process.execPath, [c8, 'report', '--temp-directory', data], {
    cwd: root,
    env: { ...process.env, NODE_V8_COVERAGE: '' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) fail('coverage', `c8 ended with exit code ${status}`);
  print('Other tests: npm run coverage -- PATH, and --real for the files with real proxies and daemons.');
}

async function main() {
  const wanted = readArguments();
  prepare(wanted);
  const files = select(wanted);
  // Short, because the path of a unix socket may have no more than 107 bytes (unix(7)).
  const temporary = mkdtempSync(join(tmpdir(), 'sci-'));
  // Test files and the programs that they start write what they ran to this folder as they exit.
  if (wanted.coverage) process.env.NODE_V8_COVERAGE = join(temporary, 'coverage');
  const options = { node: process.execPath, prefix: '', limit: wanted.limit, temporary };
  const engines = Array.from({ length: AT_ONCE.real }, laneEngine);
  const stopEngines = () => Promise.all(engines.map((engine) => engine.stop()));
  for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
    process.once(signal, () => {
      killAll();
      rmSync(temporary, { recursive: true, force: true });
      void stopEngines().finally(() => process.exit(128 + number));
    });
  }
  try {
    const fast = jobs(files.fast, options);
    await Promise.all(Array.from({ length: AT_ONCE.fast }, () => runLane([fast])));
    const withDocker = jobs(files.real.filter(usesDocker), options);
    const others = jobs(
      files.real.filter((file) => !usesDocker(file)),
      options,
    );
    if (files.lts.length > 0) others.push(...jobsOnLts(files.lts, options));
    // The lanes begin with different kinds, because tests with containers mostly wait and leave the processor idle.
    const orders = [
      [withDocker, others],
      [others, withDocker],
    ];
    const lanes = engines.map((engine, i) => runLane(orders[i % orders.length], engine));
    // People wait for `npm test`. This lane has no container engine, and needs none.
    if (wanted.full === false) lanes.push(runLane([others]));
    await Promise.all(lanes);
    contractTable(readResults(temporary)).forEach(print);
    if (wanted.coverage) printCoverage(process.env.NODE_V8_COVERAGE);
  } finally {
    await stopEngines();
    rmSync(temporary, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  const expected = error instanceof SetupError || /^ERR_PARSE_ARGS/.test(error.code);
  fail('npm test', expected ? error.message : error.stack);
}
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
print(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exitCode = totals.failed > 0 ? 1 : 0;
