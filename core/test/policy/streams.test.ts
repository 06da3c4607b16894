/** Every UPDATE and probe is checked against the limits of rules, whichever rule allowed the request of the stream. */
import 'reflect-metadata';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Action, type StreamRecord, type StreamSpec, parseAddress } from '@scistream/core/internal';
import { ALICE, answer, PLACED, policyOf, request, SPEC, STREAM } from '../support/policy.js';

const streams = suite('rules about existing streams');

const who = { identities: ['token:alice'] };
const LAB = { name: 'lab', who, targets: { networks: ['10.0.1.5'] } };
const OPEN = { name: 'open', who, targets: { networks: ['192.0.2.80'] } };

/** A stream with a lifetime of one hour, two listeners and a rate. */
const MADE: StreamRecord = {
  ...STREAM,
  ...PLACED,
  spec: { ...SPEC, connections: 2, bitsPerSecond: 1e9, lifetimeMs: 3_600_000 },
  state: 'provisioned',
  listeners: [5100, 5101].map((port) => ({ host: '203.0.113.1', port })),
  expiresAt: '2026-01-01T01:00:00.000Z',
};

const retarget = (spec: Partial<StreamSpec>, target: string, kind: 'update' | 'probe' = 'update'): Action => ({
  kind,
  stream: { ...MADE, spec: { ...MADE.spec, ...spec } },
  targets: [parseAddress(target)],
});

for (const [title, lab, stream, expected] of [
  ['the maximum of connections', { limits: { connections: 2 } }, {}, /^yes/],
  ['too many connections', { limits: { connections: 1 } }, {}, /Rule lab .* not 2 connections.*connections: at most 1/],
  ['the maximum of bandwidth', { limits: { bandwidth: '1Gbps', totalBandwidth: '1Gbps' } }, {}, /^yes/],
  ['too much bandwidth', { limits: { bandwidth: '1Gbps' } }, { bitsPerSecond: 2e9 }, /not 2 Gb\/s bandwidth/],
  ['unlimited bandwidth', { limits: { bandwidth: '1Gbps' } }, { bitsPerSecond: 0 }, /not unlimited bandwidth/],
  [
    'too much total bandwidth',
    { limits: { totalBandwidth: '1Gbps' } },
    { bitsPerSecond: 2e9 },
    /not 2 Gb\/s total bandwidth/,
  ],
  ['the maximum lifetime', { limits: { lifetime: '1h' } }, {}, /^yes/],
  ['a lifetime above the limit', { limits: { lifetime: '30m' } }, {}, /not 1 h lifetime.*lifetime: at most 0\.5 h/],
  ['the same sources', { sources: ['198.51.100.7'] }, { sources: ['198.51.100.7/32'] }, /^yes/],
  ['some of the sources', { sources: ['10.3.0.0/16'] }, { sources: ['10.3.7.0/24', '10.3.8.0/24'] }, /^yes/],
  ['sources in IPv6', { sources: ['2001:db8::/32'] }, { sources: ['2001:db8:7::/48'] }, /^yes/],
  ['all networks', { sources: ['0.0.0.0/0', '::/0'] }, {}, /^yes/],
  ['no sources', { sources: ['198.51.100.7'] }, {}, /not connections from everywhere.*sources: 198\.51\.100\.7\/32/],
  ['wider sources', { sources: ['10.3.0.0/24'] }, { sources: ['10.3.0.0/16'] }, /not connections from 10\.3\.0\.0\/16/],
  [
    'one source too many',
    { sources: ['10.3.0.0/24'] },
    { sources: ['10.3.0.0/24', '10.4.0.1/32'] },
    /not connections from/,
  ],
] as const) {
  streams(`a stream allowed by another rule: ${title}`, async () => {
    const policy = await policyOf([OPEN, { ...LAB, ...lab }]);
    assert.match(await answer(policy.check(ALICE, retarget(stream, '10.0.1.5:22'))), expected);
    assert.match(await answer(policy.check(ALICE, retarget(stream, '10.0.1.5:22', 'probe'))), expected);
    assert.is(await answer(policy.check(ALICE, retarget(stream, '192.0.2.80:22'))), 'yes');
  });
}

streams('each target needs a rule that allows the stream', async () => {
  const policy = await policyOf([OPEN, { ...LAB, sources: ['198.51.100.7'] }]);
  const targets = ['192.0.2.80:22', '10.0.1.5:22'].map((text) => parseAddress(text));
  const both = (stream: StreamRecord): Action => ({ kind: 'update', stream, targets });
  assert.match(await answer(policy.check(ALICE, both(MADE))), /^SCI_FORBIDDEN: Rule lab/);
  const narrow = { ...MADE, spec: { ...MADE.spec, sources: ['198.51.100.7/32'] } };
  assert.is((await policy.check(ALICE, both(narrow))).rule, 'open,lab');
});

streams('a rule accepts streams with the sources it granted', async () => {
  const limits = { connections: 2, lifetime: '90m', bandwidth: '1Gbps', totalBandwidth: '1Gbps', streams: 1 };
  const policy = await policyOf([{ ...LAB, limits, sources: ['198.51.100.7', '::ffff:10.0.0.0/104'] }]);
  const asked = request({ bitsPerSecond: 1e9, connections: 2 });
  const { lifetimeMs = 0, sources = [] } = await policy.check(ALICE, asked);
  assert.is(await answer(policy.check(ALICE, retarget({ lifetimeMs, sources }, '10.0.1.5:22'))), 'yes');
});

streams('limits do not apply to viewing and releasing a stream', async () => {
  const policy = await policyOf([{ ...LAB, limits: { connections: 1, lifetime: '1m' }, sources: ['10.0.0.1'] }]);
  for (const kind of ['hello', 'view', 'list', 'release'] as const) {
    assert.is(await answer(policy.check(ALICE, { kind, stream: MADE })), 'yes');
  }
});

streams.run();
