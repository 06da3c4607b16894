/**
 * `npm run bench`: measures SciStream against baselines in the same run, and reports which goals are met. Progress goes
 * to stderr, the report to stdout. The exit code is 0 even if goals are missed, 1 if a defect was found, 2 if the arguments
 * or the machine do not allow the run, and 128 plus the signal's number after a signal. It always removes what it made.
 */
import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { authPart } from './auth.js';
import { adoptionPart } from './adoption.js';
import { isMet, type Bench, type Need, type Part } from './bench.js';
import { dockerPart } from './containers.js';
import { crowdPart } from './crowd.js';
import { encryptedPart } from './encrypted.js';
import { existingPart } from './existing.js';
import { goalsToMarkdown, partToMarkdown } from './format.js';
import { pluginPart, relayPart } from './loopback.js';
import { manyPart } from './many.js';
import { describeMachine, machineToMarkdown, type Machine } from './machine.js';
import { namespacesPart } from './namespaces.js';
import { policyPart } from './policy.js';
import { works } from './process.js';
import { parseSettings, USAGE, UsageError, type PartName, type Settings } from './settings.js';
import { setupPart } from './setup.js';
import { soakPart } from './soak.js';
import { storePart } from './store.js';
import { timesPart } from './times.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a part needs, and its function. */
interface Measurement {
  readonly needs: readonly Need[];
  readonly measure: (bench: Bench) => Promise<Part>;
}

const MEASUREMENTS: Readonly<Record<PartName, Measurement>> = {
  relay: { needs: ['iperf3'], measure: relayPart },
  haproxy: { needs: ['iperf3', 'haproxy'], measure: (bench) => pluginPart(bench, 'haproxy') },
  nginx: { needs: ['iperf3', 'nginx'], measure: (bench) => pluginPart(bench, 'nginx') },
  encrypted: { needs: ['iperf3'], measure: encryptedPart },
  netns: { needs: ['iperf3', 'namespaces'], measure: namespacesPart },
  docker: { needs: ['iperf3', 'docker'], measure: dockerPart },
  times: { needs: [], measure: timesPart },
  many: { needs: ['docker'], measure: manyPart },
  store: { needs: [], measure: storePart },
  auth: { needs: [], measure: authPart },
  policy: { needs: [], measure: policyPart },
  adoption: { needs: [], measure: adoptionPart },
  crowd: { needs: [], measure: crowdPart },
  existing: { needs: [], measure: existingPart },
  setup: { needs: [], measure: setupPart },
  soak: { needs: [], measure: soakPart },
};

/** A signal to this program. */
class Interrupted extends Error {
  constructor(readonly signal: (typeof SIGNALS)[number]) {
    super(signal);
  }
}

/** How to find programs, and their Debian packages. */
const PROGRAMS = {
  iperf3: { command: ['iperf3', '--version'], packages: 'iperf3' },
  haproxy: { command: ['haproxy', '-v'], packages: 'haproxy' },
  nginx: { command: ['nginx', '-v'], packages: 'nginx libnginx-mod-stream' },
  stunnel: { command: ['stunnel', '-version'], packages: 'stunnel4' },
  docker: { command: ['sh', '-c', 'dockerd --version && busybox true'], packages: 'docker.io busybox-static' },
  namespaces: { command: ['ip', 'netns', 'list'], packages: 'iproute2' },
} as const satisfies Readonly<Record<Need, object>>;

async function findMissing(): Promise<Bench['missing']> {
  const missing: Partial<Record<Need, string>> = {};
  for (const [need, { command, packages }] of Object.entries(PROGRAMS) as [Need, (typeof PROGRAMS)[Need]][]) {
    if (!(await works(command))) missing[need] = `${need} cannot be used (apt-get install ${packages})`;
  }
  if (process.getuid?.() !== 0) {
    missing.namespaces = 'network namespaces need root';
    missing.docker = 'a Docker engine needs root';
  }
  return missing;
}

async function measure(settings: Settings, bench: Bench): Promise<readonly Part[]> {
  const parts: Part[] = [];
  for (const name of settings.parts) {
    const { needs, measure: run } = MEASUREMENTS[name];
    const reason = needs.map((need) => bench.missing[need]).find((missing) => missing !== undefined);
    parts.push(reason === undefined ? await run(bench) : notMeasured(name, reason));
    bench.signal.throwIfAborted();
  }
  return parts;
}

const notMeasured = (name: string, reason: string): Part => ({
  name,
  method: '',
  tables: [],
  goals: [],
  notMeasured: [reason],
  broken: [],
  data: null,
});

function report({ json, rounds, seconds, quick }: Settings, machine: Machine, parts: readonly Part[]): string {
  const goals = parts.flatMap((part) => part.goals);
  if (json) {
    const shown = parts.map(({ name, data, notMeasured: missing, broken }) => ({
      name,
      notMeasured: missing,
      broken,
      data,
    }));
    const judged = goals.map((goal) => ({ ...goal, met: isMet(goal) }));
    return `${JSON.stringify({ machine, rounds, seconds, quick, parts: shown, goals: judged })}\n`;
  }
  const sections = ['# Benchmark', machineToMarkdown(machine), ...parts.map(partToMarkdown), goalsToMarkdown(goals)];
  return `${sections.join('\n\n')}\n`;
}

async function main(): Promise<number> {
  const settings = parseSettings(process.argv.slice(2));
  if (settings.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const missing = await findMissing();
  if (missing.iperf3 !== undefined && settings.parts.some((part) => MEASUREMENTS[part].needs.includes('iperf3'))) {
    process.stderr.write('bench: iperf3 is not installed; get it with: apt-get install iperf3\n');
    return 2;
  }
  const stop = stopOnSignals();
  const machine = await describeMachine();
  const directory = await mkdtemp(join(tmpdir(), 'scistream-bench-'));
  const say = (text: string): void => void process.stderr.write(`bench: ${text}\n`);
  try {
    const bench: Bench = { ...settings, directory, signal: stop, missing, say };
    const parts = await measure(settings, bench);
    process.stdout.write(report(settings, machine, parts));
    return parts.some(({ broken }) => broken.length > 0) ? 1 : 0;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Aborts at the first signal or uncaught error; `main` then removes what was made. Further signals have no effect, because
 * that takes only seconds.
 */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const signal of SIGNALS) process.on(signal, () => stop.abort(new Interrupted(signal)));
  process.on('uncaughtException', (error) => {
    process.stderr.write(`bench: ${inspect(error)}\n`);
    process.exitCode = 1;
    stop.abort(error);
  });
  // Twenty streams are set up at the same time, and each call adds a listener.
  setMaxListeners(0, stop.signal);
  return stop.signal;
}

try {
  const code = await main();
  process.exitCode ??= code;
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`bench: ${error.message}\n${USAGE}`);
    process.exitCode = 2;
  } else if (error instanceof Interrupted) {
    process.stderr.write(`bench: ended by ${error.signal}, everything removed\n`);
    process.exitCode = 128 + constants.signals[error.signal];
  } else {
    process.stderr.write(`bench: ${inspect(error)}\n`);
    process.exitCode = 1;
  }
}
