/**
 * `npm run bench`: measures SciStream against baselines of the same run and says which goals are met. Progress goes to
 * stderr, the report to stdout. Exit code 0 also when a goal is missed, 1 when something is broken, 2 when it cannot be
 * run as asked, 128 and the signal's number after a signal. Whatever ends it, everything it made is removed first.
 */
import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { isMet, type Bench, type Part } from './bench.js';
import { goalsToMarkdown, partToMarkdown } from './format.js';
import { haproxyPart, relayPart } from './loopback.js';
import { describeMachine, machineToMarkdown, type Machine } from './machine.js';
import { namespacesPart } from './namespaces.js';
import { works } from './process.js';
import { parseSettings, USAGE, UsageError, type PartName, type Settings } from './settings.js';
import { setupPart } from './setup.js';
import { soakPart } from './soak.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a part needs, and how it is measured. */
interface Measurement {
  readonly needs: readonly (keyof Bench['missing'])[];
  readonly measure: (bench: Bench) => Promise<Part>;
}

const MEASUREMENTS: Readonly<Record<PartName, Measurement>> = {
  relay: { needs: ['iperf3'], measure: relayPart },
  haproxy: { needs: ['iperf3', 'haproxy'], measure: haproxyPart },
  netns: { needs: ['iperf3', 'namespaces'], measure: namespacesPart },
  setup: { needs: [], measure: setupPart },
  soak: { needs: [], measure: soakPart },
};

/** A signal that was sent to this program. */
class Interrupted extends Error {
  constructor(readonly signal: (typeof SIGNALS)[number]) {
    super(signal);
  }
}

async function findMissing(): Promise<Bench['missing']> {
  return {
    ...(!(await works(['iperf3', '--version'])) && { iperf3: 'iperf3 is not installed' }),
    ...(!(await works(['haproxy', '-v'])) && { haproxy: 'haproxy is not installed (apt-get install haproxy)' }),
    ...(process.getuid?.() !== 0
      ? { namespaces: 'network namespaces need root' }
      : !(await works(['ip', 'netns', 'list'])) && { namespaces: 'ip is missing (apt-get install iproute2)' }),
  };
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

function report({ json, rounds, seconds }: Settings, machine: Machine, parts: readonly Part[]): string {
  const goals = parts.flatMap((part) => part.goals);
  if (json) {
    const shown = parts.map(({ name, data, notMeasured: missing, broken }) => ({
      name,
      notMeasured: missing,
      broken,
      data,
    }));
    const judged = goals.map((goal) => ({ ...goal, met: isMet(goal) }));
    return `${JSON.stringify({ machine, rounds, seconds, parts: shown, goals: judged })}\n`;
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
 * Aborts at the first signal, and at an error nobody caught; what was made is then taken down on the way out of `main`.
 * Further signals change nothing, because that takes seconds at most.
 */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const signal of SIGNALS) process.on(signal, () => stop.abort(new Interrupted(signal)));
  process.on('uncaughtException', (error) => {
    process.stderr.write(`bench: ${inspect(error)}\n`);
    process.exitCode = 1;
    stop.abort(error);
  });
  // Twenty streams are made at once, and each call listens.
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
