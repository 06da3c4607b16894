import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SciStreamError, type Identity } from '@scistream/core';
import { RulesPolicy, type Action, parseAddress } from '@scistream/core/internal';
import { testRecord, testSpec } from '@scistream/core/testing';
import { newDirectory, type Bench, type Goal, type Part } from './bench.js';
import { number } from './format.js';
import { quantile } from './statistics.js';

const RULES = 1_000;
const GOAL_US = 50;
const WARM_UP = 1_000;
const DECISIONS = 5_000;
const QUICK_DECISIONS = 1_000;

const CALLER: Identity = { issuer: 'token', subject: 'alice', admin: false };
const STREAM = {
  ...testRecord('policy-bench-0001'),
  spec: { ...testSpec, lifetimeMs: 0, encryption: 'tls' as const },
  owner: 'token:alice',
  gateway: 'dtn1',
};

const request = (connections: number): Action => ({
  kind: 'request',
  stream: { ...STREAM, spec: { ...STREAM.spec, connections } },
  usage: { streams: 0, bitsPerSecond: 0 },
});
const update = (target: string): Action => ({ kind: 'update', stream: STREAM, targets: [parseAddress(target)] });

/** The rule that allows is the last one, and each has its own limits, gateway and network. */
const rule = (i: number, identity: string): object => ({
  who: { identities: [identity] },
  gateways: ['other', 'dtn1'],
  limits: { connections: i + 1 },
  targets: { networks: [`10.${i >> 8}.${i & 255}.0/24`] },
});

interface Decision {
  readonly title: string;
  /** Sorted, us. */
  readonly times: readonly number[];
}

/** The time that a policy of a thousand rules takes to decide. */
export async function policyPart(bench: Bench): Promise<Part> {
  const everybody = await policyOf(bench, () => '*');
  const each = await policyOf(bench, (i) => (i === RULES - 1 ? 'token:alice' : `token:user${i}`));
  const decisions: Decision[] = [];
  for (const [title, policy, action] of [
    ['request, a rule for each caller', each, request(RULES)],
    ['request, all rules about everybody', everybody, request(RULES)],
    ['update, all rules about everybody', everybody, update('10.3.231.1:5000')],
    ['view, all rules about everybody', everybody, { kind: 'view', stream: STREAM }],
    ['request refused, all rules about everybody', everybody, request(RULES + 1)],
    ['update refused, all rules about everybody', everybody, update('192.0.2.1:5000')],
  ] as const) {
    bench.say(`policy: ${title}`);
    decisions.push({ title, times: await measure(bench, policy, action) });
  }
  return {
    name: 'Policy',
    method: `Decisions of a policy of ${RULES} rules, one after another, without audit log and name lookups.`,
    tables: [
      {
        title: `Decisions among ${RULES} rules, us`,
        columns: ['decision', 'median', 'p99'],
        rows: decisions.map(({ title, times }) => [
          title,
          number(quantile(times, 0.5), 1),
          number(quantile(times, 0.99), 1),
        ]),
      },
    ],
    goals: decisions.map(goal),
    notMeasured: [],
    broken: [],
    data: decisions,
  };
}

const goal = ({ title, times }: Decision): Goal => ({
  what: `policy decision among ${RULES} rules, median: ${title}`,
  bound: 'at most',
  wanted: GOAL_US,
  got: quantile(times, 0.5),
  unit: 'us',
});

async function policyOf(bench: Bench, who: (i: number) => string): Promise<RulesPolicy> {
  const file = join(await newDirectory(bench, 'policy'), 'policy.yaml');
  const rules = Array.from({ length: RULES }, (_, i) => rule(i, who(i)));
  await writeFile(file, JSON.stringify({ rules }));
  const policy = new RulesPolicy(file, () => Promise.resolve({ proxy: 'relay', runtime: 'process' }));
  await policy.load();
  return policy;
}

async function measure({ quick, signal }: Bench, policy: RulesPolicy, action: Action): Promise<readonly number[]> {
  const times: number[] = [];
  const decisions = quick ? QUICK_DECISIONS : DECISIONS;
  for (let i = 0; i < WARM_UP + decisions; i += 1) {
    signal.throwIfAborted();
    const begun = performance.now();
    await policy.check(CALLER, action).catch((error: unknown) => {
      if (!SciStreamError.is(error) || error.code !== 'SCI_FORBIDDEN') throw error;
    });
    if (i >= WARM_UP) times.push((performance.now() - begun) * 1_000);
  }
  return times;
}
