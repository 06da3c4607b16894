/**
 * `npm run test:siege`: all attacks at the same time against two facilities with data flowing, and an honest user beside
 * them. First a quiet period, for comparison. Progress goes to stderr, the report to stdout.
 */
import { readdir, readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '@scistream/core';
import { processesBelow } from '../support/leftovers.js';
import { quantile } from '../bench/statistics.js';
import { ATTACKS, spent, type Attack } from './attacks.js';
import { FACILITIES, Ground, type Facility } from './ground.js';
import { Alice, summary, type Experience } from './honest.js';

const USAGE = `
npm run test:siege                    attacks for an hour, after three quiet minutes
npm run test:siege -- --minutes 5     attacks for five minutes, after a quarter of a minute
npm run test:siege -- loop scan       only attacks whose name contains one of these words
npm run test:siege -- --help          prints this text

Exit code 1 if a promise was not kept, 2 if the arguments are wrong.
`.trimStart();

const MINUTE_MS = 60_000;
const SAMPLE_MS = 5_000;
/** A call of an honest user takes at most this many times as long as without attacks, at the 99th percentile. */
const SLOWER = 3;
/** Latencies below this are no harm, ms. */
const PROMPT_MS = 100;
/** Memory of the daemons and their proxies may grow by this factor after the first fifth of the attack. */
const GROWTH = 1.5;

const say = (text: string): void => void process.stderr.write(`siege: ${text}\n`);

/** What a facility uses: its control server and its proxies. */
interface Usage {
  /** Resident memory, MB. */
  readonly megabytes: number;
  readonly descriptors: number;
  readonly processes: number;
}

async function usageOf({ daemons }: Ground, facility: Facility): Promise<Usage> {
  const { pid, state } = daemons[facility];
  const pids = [pid, ...(await processesBelow(state))];
  const each = await Promise.all(
    pids.map(async (one) => ({
      kib: Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${one}/status`, 'utf8').catch(() => ''))?.[1] ?? 0),
      descriptors: (await readdir(`/proc/${one}/fd`).catch(() => [])).length,
    })),
  );
  return {
    megabytes: each.reduce((sum, { kib }) => sum + kib, 0) / 1024,
    descriptors: each.reduce((sum, { descriptors }) => sum + descriptors, 0),
    processes: pids.length,
  };
}

const described = ({ megabytes, descriptors, processes }: Usage): string =>
  `${megabytes.toFixed(0)} MB, ${descriptors} descriptors, ${processes} processes`;

/** Samples of the usage, every five seconds until the signal aborts. */
async function watch(ground: Ground, facility: Facility, signal: AbortSignal): Promise<readonly Usage[]> {
  const samples: Usage[] = [];
  while (!signal.aborted) {
    samples.push(await usageOf(ground, facility));
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  }
  return samples;
}

/** The largest memory in the first fifth and in the last tenth of the samples, MB. */
function growth(samples: readonly Usage[]): { readonly early: number; readonly late: number } {
  const tenth = Math.max(1, Math.ceil(samples.length / 10));
  const most = (some: readonly Usage[]): number => Math.max(...some.map(({ megabytes }) => megabytes));
  // The first fifth fills what is bounded.
  return { early: most(samples.slice(0, 2 * tenth)), late: most(samples.slice(-tenth)) };
}

const p99 = ({ calls }: Experience): number => (calls.length === 0 ? Infinity : quantile(calls, 0.99));

async function siege(ground: Ground, attacks: readonly Attack[], minutes: number): Promise<number> {
  await using alice = await Alice.start(ground);
  say('quiet');
  const quiet = await alice.work(AbortSignal.timeout(Math.max(15_000, (minutes * MINUTE_MS) / 20)));
  say(`${attacks.length} attacks for ${minutes} minutes`);
  const signal = AbortSignal.timeout(minutes * MINUTE_MS);
  const watching = FACILITIES.map((facility) => watch(ground, facility, signal));
  const ended: string[] = [];
  const attacking = attacks.map(({ name, run }) =>
    run(ground, signal).catch((error: unknown) => ended.push(`${name}: ${messageOf(error)}`)),
  );
  const under = await alice.work(signal);
  await Promise.all(attacking);
  const samples = await Promise.all(watching);
  const flows = await alice.finish();
  const lines = [
    `| | quiet | ${attacks.length} attacks |`,
    '| --- | --- | --- |',
    `| calls | ${summary(quiet.calls)} | ${summary(under.calls)} |`,
    `| set-ups with \`stream up\` | ${summary(quiet.setUps)} | ${summary(under.setUps)} |`,
    `| failures | ${quiet.failures.length} | ${under.failures.length} |`,
    '',
    ...FACILITIES.map((facility, i) => {
      const all = samples[i] ?? [];
      const { early, late } = growth(all);
      const [last] = all.slice(-1);
      return `- ${facility}: memory at most ${early.toFixed(0)} MB early, ${late.toFixed(0)} MB late; at the end ${last ? described(last) : 'unknown'}`;
    }),
    ...flows.map((flow) => `- ${flow}`),
    `- attackers made ${spent().calls} calls and ${spent().connections} connections`,
    ...ended.map((one) => `- an attack has ended early: ${one}`),
    ...[...quiet.failures, ...under.failures].slice(0, 20).map((failure) => `- failed: ${failure}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  const broken = [
    flows.some((flow) => flow.includes('FAILED')) && 'a stream lost data',
    under.failures.length > 0 && 'an honest call failed',
    p99(under) > Math.max(PROMPT_MS, SLOWER * p99(quiet)) && 'honest calls are slow',
    samples.some((all) => growth(all).late > GROWTH * growth(all).early) && 'memory grows',
    ended.length > 0 && 'an attack could not go on',
  ].filter((one) => one !== false);
  say(broken.length === 0 ? 'every promise was kept' : `not kept: ${broken.join(', ')}`);
  return broken.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { help: { type: 'boolean', default: false }, minutes: { type: 'string', default: '60' } },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 24 * 60)) throw new Error(`--minutes ${values.minutes} is not a number of minutes`);
  const attacks = ATTACKS.filter(
    ({ name }) => positionals.length === 0 || positionals.some((word) => name.toLowerCase().includes(word)),
  );
  if (attacks.length === 0) throw new Error(`no attack has ${positionals.join(' or ')} in its name`);
  await using ground = await Ground.start();
  return await siege(ground, attacks, minutes);
}

try {
  process.exitCode = await main();
} catch (error) {
  say(messageOf(error));
  process.exitCode = 2;
}
