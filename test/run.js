/**
 * Runs the tests. `npm test` prepares the clone (test/setup.js), then runs every `*.test.ts` in a process of its own:
 * the fast ones two at a time, then `*.real.test.ts` and `*.e2e.test.ts` in two lanes, and in what remains of these the
 * fast ones once more on the current LTS of Node.js.
 *
 *     npm test                                all of it
 *     npm test -- core/test/address           files whose path contains this, on this Node.js
 *     npm test -- --fast | --real | --lts     only these; may be combined with each other and with paths
 *     npm test -- --limit 10                  seconds a file may take, instead of 180 (fast) and 900 (real, e2e)
 *     npm test -- --again 3                   so many files that fail may have a second try, which is said; .ci/run does so
 *     npm test -- --in FOLDER                 *.test.js of that folder, with nothing prepared: for tests of the runner
 *
 * A file whose first lines say `// needs: haproxy, python3-grpc, ip, nft, root, netns` is skipped, with the reason,
 * where one is missing; with CI=true that is a failure. What the contract kit reports is printed as a table, proxies ×
 * runtimes. The last line is `N passed, N failed`, in tests; a file that is
 * wrong as a whole counts as one failure. `, N unsteady` after it are files that passed at the second try only: defects
 * to be looked for, which must not keep everything else from going on. Exit code 0 only if nothing failed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
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
import { SetupError, ensureBuilt, ensureInstalled, provision } from './setup.js';

const AT_ONCE = 2;
const LIMIT_SECONDS = { fast: 180, real: 900 };
/** Of the output of a failing file, so many characters from its end are shown. */
const SHOWN = 32_768;

const strict = process.env.CI === 'true';
const totals = { passed: 0, failed: 0, skipped: 0 };
const unsteady = [];
let secondTries = 0;
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
      limit: { type: 'string' },
      again: { type: 'string', default: '0' },
      in: { type: 'string' },
    },
  });
  const limit = values.limit === undefined ? undefined : Number(values.limit);
  if (limit !== undefined && !(limit > 0)) throw new SetupError(`--limit ${values.limit} is not a number of seconds`);
  const again = Number(values.again);
  if (!Number.isInteger(again) || again < 0) throw new SetupError(`--again ${values.again} is not a number of files`);
  const chosen = values.fast || values.real || values.lts;
  return {
    fast: values.fast || !chosen,
    real: values.real || !chosen,
    lts: values.lts || (!chosen && positionals.length === 0 && values.in === undefined),
    limit,
    again,
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

/** Runs and judges one file, and prints its lines. */
async function runOne(file, options) {
  const name = `${options.prefix}${file.name}`;
  const unknown = file.needs.filter((need) => !isKnownNeed(need));
  if (unknown.length > 0) return fail(name, `needs ${unknown.join(', ')}, which test/runner/needs.js does not know`);
  const missing = unmetNeeds(file.needs);
  if (missing.length > 0) return skip(name, `needs ${missing.join(' and ')}`);
  const first = await attempt(file, name, options);
  let { verdict } = first;
  if (verdict.failed > 0 && secondTries < options.again) {
    secondTries += 1;
    print(`  ${name}: once more`);
    // Its cases would stand in the table twice.
    rmSync(first.home, { recursive: true, force: true });
    ({ verdict } = await attempt(file, name, options));
    if (verdict.failed === 0) unsteady.push(name);
  }
  for (const key of Object.keys(totals)) totals[key] += verdict[key];
}

async function attempt(file, name, options) {
  const number = String((started += 1));
  const home = join(options.temporary, number);
  const limit = options.limit ?? LIMIT_SECONDS[file.real ? 'real' : 'fast'];
  const env = usesDocker(file) ? await options.engine.environment() : {};
  const since = Date.now();
  const id = `${process.pid}-${number}`;
  const run = await runFile({ node: options.node, script: file.script, home, id, limit, env });
  const verdict = judge(run, file.source);
  const skipped = verdict.skipped > 0 ? `, ${verdict.skipped} skipped` : '';
  const seconds = ((Date.now() - since) / 1000).toFixed(1);
  print(`${verdict.failed > 0 ? '✘' : '✔'} ${name}  ${verdict.passed}/${verdict.total}${skipped}  ${seconds} s`);
  if (verdict.failed > 0) {
    for (const reason of verdict.reasons) print(`    ${reason}`);
    print(indent(run.output.slice(-SHOWN)));
  }
  return { verdict, home };
}

/**
 * A lane of jobs, each a file and its options: one after another, from the first of the queues that has one. What it
 * shares with other lanes are queues; a container engine is its own, because tests look at all that is in one.
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
 * The second run of the fast tests, with homes of their own, so that the contract kit's results do not count twice.
 * Downloads what it needs, so it is to be called while nothing else runs.
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

/** One container engine for all files of a lane that need docker, started for the first; the environment says where. */
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

async function main() {
  const wanted = readArguments();
  prepare(wanted);
  const all = wanted.folder === undefined ? testFiles() : plainTestFiles(wanted.folder);
  const { filters } = wanted;
  const files = filters.length === 0 ? all : all.filter(({ name }) => filters.some((part) => name.includes(part)));
  const fast = files.filter(({ real }) => !real);
  const real = files.filter((file) => file.real);
  if ((wanted.fast || wanted.lts ? fast.length : 0) + (wanted.real ? real.length : 0) === 0) {
    throw new SetupError(`no test file${filters.length > 0 ? ` with ${filters.join(' or ')} in its path` : ''}`);
  }
  // Short, because the path of a unix socket may have no more than 107 bytes (unix(7)).
  const temporary = mkdtempSync(join(tmpdir(), 'sci-'));
  const options = { node: process.execPath, prefix: '', limit: wanted.limit, again: wanted.again, temporary };
  const engines = Array.from({ length: AT_ONCE }, laneEngine);
  const stopEngines = () => Promise.all(engines.map((engine) => engine.stop()));
  for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
    process.once(signal, () => {
      killAll();
      rmSync(temporary, { recursive: true, force: true });
      void stopEngines().finally(() => process.exit(128 + number));
    });
  }
  try {
    const first = wanted.fast ? jobs(fast, options) : [];
    await Promise.all(engines.map((engine) => runLane([first], engine)));
    const withDocker = jobs(wanted.real ? real.filter(usesDocker) : [], options);
    const others = jobs(wanted.real ? real.filter((file) => !usesDocker(file)) : [], options);
    if (wanted.lts) others.push(...jobsOnLts(fast, options));
    // They begin with different kinds, because those with containers are the ones that wait most.
    const orders = [
      [withDocker, others],
      [others, withDocker],
    ];
    await Promise.all(engines.map((engine, i) => runLane(orders[i % orders.length], engine)));
    contractTable(readResults(temporary)).forEach(print);
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
for (const name of unsteady) print(`! ${name} passed at the second try only`);
const rest = { skipped: totals.skipped, unsteady: unsteady.length };
const more = Object.entries(rest).map(([what, count]) => (count > 0 ? `, ${count} ${what}` : ''));
print(`${totals.passed} passed, ${totals.failed} failed${more.join('')}`);
process.exitCode = totals.failed > 0 ? 1 : 0;
