/** The rules of a policy file: callers, limits, targets and refusals. */
import 'reflect-metadata';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Identity } from '@scistream/core';
import { RulesPolicy, type Action, type Resolver } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import {
  ALICE,
  answer,
  BOB,
  names,
  placing,
  PLACED,
  policyOf,
  request,
  ROOT,
  STREAM,
  update,
} from '../support/policy.js';

const rules = suite('rules');

const who = { identities: ['token:alice'] };

for (const [title, rule, action, expected] of [
  ['a rule about the caller', { who }, request(), /^yes/],
  ['a rule about everybody', { who: { identities: ['*'] } }, request(), /^yes/],
  ['a rule about the issuer', { who: { issuers: ['token'] } }, request(), /^yes/],
  ['a rule about another caller', { who: { identities: ['token:bob'] } }, request(), /No rule applies to token:alice/],
  ['an identity is not a prefix', { who: { identities: ['token:alic'] } }, request(), /No rule/],
  ['a rule about another issuer', { who: { issuers: ['https://idp.example'] } }, request(), /No rule/],
  [
    'an action that is not listed',
    { who, actions: ['view'] },
    request(),
    /Rule r does not allow action request.*actions: view/,
  ],
  ['another role', { who, roles: ['outbound'] }, request(), /does not allow role inbound.*roles: outbound/],
  ['another gateway', { who, gateways: ['dtn2'] }, request(), /gateway dtn1.*gateways: dtn2/],
  ['the default proxy counts', { who, proxies: ['haproxy'] }, request(), /proxy relay.*proxies: haproxy/],
  ['the default runtime counts', { who, runtimes: ['docker'] }, request(), /runtime process.*runtimes: docker/],
  [
    'no encryption, which is not allowed by default',
    { who },
    request({ encryption: 'none' }),
    /encryption none.*encryption: tls/,
  ],
  ['no encryption, allowed by the rule', { who, encryption: ['none'] }, request({ encryption: 'none' }), /^yes/],
  ['encryption, where the rule allows only none', { who, encryption: ['none'] }, request(), /encryption tls/],
  ['the maximum of connections', { who, limits: { connections: 4 } }, request({ connections: 4 }), /^yes/],
  [
    'too many connections',
    { who, limits: { connections: 4 } },
    request({ connections: 5 }),
    /5 connections.*at most 4/,
  ],
  ['the maximum of bandwidth', { who, limits: { bandwidth: '1Gbps' } }, request({ bitsPerSecond: 1e9 }), /^yes/],
  [
    'too much bandwidth',
    { who, limits: { bandwidth: '1Gbps' } },
    request({ bitsPerSecond: 2e9 }),
    /2 Gb\/s.*at most 1 Gb\/s/,
  ],
  ['unlimited bandwidth', { who, limits: { bandwidth: '1Gbps' } }, request(), /unlimited bandwidth.*at most 1 Gb\/s/],
  [
    'a lifetime above the limit',
    { who, limits: { lifetime: '1h' } },
    request({ lifetimeMs: 7_200_000 }),
    /2 h lifetime.*at most 1 h/,
  ],
  ['the last allowed stream', { who, limits: { streams: 2 } }, request({}, { streams: 1, bitsPerSecond: 0 }), /^yes/],
  [
    'one stream too many',
    { who, limits: { streams: 2 } },
    request({}, { streams: 2, bitsPerSecond: 0 }),
    /3 simultaneous streams.*at most 2/,
  ],
  [
    'the total bandwidth',
    { who, limits: { totalBandwidth: '3Gbps' } },
    request({ bitsPerSecond: 2e9 }, { streams: 1, bitsPerSecond: 2e9 }),
    /4 Gb\/s total bandwidth.*at most 3 Gb\/s/,
  ],
] as const) {
  rules(`request: ${title}`, async () => {
    assert.match(await answer((await policyOf([{ name: 'r', ...rule }])).check(ALICE, action)), expected);
  });
}

rules('one rule that allows is enough; the closest rule explains a refusal', async () => {
  const policy = await policyOf([
    { name: 'first', who, roles: ['outbound'] },
    { name: 'second', who, limits: { connections: 2 } },
    { name: 'third', who: { identities: ['token:bob'] } },
  ]);
  assert.is((await policy.check(ALICE, request())).rule, 'second');
  assert.match(await answer(policy.check(ALICE, request({ connections: 3 }))), /^SCI_FORBIDDEN: Rule second/);
});

rules('grants the lifetime of the rule by default, and the checked ids', async () => {
  const policy = await policyOf([{ name: 'r', who, limits: { lifetime: '2h' } }]);
  assert.equal(await policy.check(ALICE, request()), { rule: 'r', ...PLACED, lifetimeMs: 7_200_000 });
});

rules('a rule with issuers matches only groups of these issuers', async () => {
  const plain = await policyOf([{ who: { groups: ['ops'] } }]);
  const bound = await policyOf([{ who: { groups: ['ops'], issuers: ['https://idp.example'] } }]);
  const member = (issuer: string): Identity => ({ issuer, subject: 'alice', admin: false, groups: ['users', 'ops'] });
  assert.is(await answer(plain.check(member('token'), request())), 'yes');
  assert.is(await answer(bound.check(member('https://idp.example'), request())), 'yes');
  assert.match(await answer(bound.check(member('https://evil.example'), request())), /No rule/);
  assert.match(await answer(bound.check({ ...member('https://idp.example'), groups: [] }, request())), /No rule/);
});

rules('issuers restrict identities and groups', async () => {
  const named = (who: object) => policyOf([{ who }]);
  const of = (issuer: string, subject: string): Identity => ({ issuer, subject, admin: false, groups: ['ops'] });
  const alice = await named({ identities: ['token:alice'], issuers: ['token'] });
  assert.is(await answer(alice.check(ALICE, request())), 'yes');
  assert.match(await answer(alice.check(BOB, request())), /No rule applies to token:bob/);
  const all = await named({ identities: ['*'], issuers: ['token'] });
  assert.is(await answer(all.check(BOB, request())), 'yes');
  assert.match(await answer(all.check(of('aps', 'eve'), request())), /No rule/);
  const either = await named({ identities: ['aps:eve'], groups: ['ops'], issuers: ['aps', 'token'] });
  assert.is(await answer(either.check({ ...of('aps', 'eve'), groups: [] }, request())), 'yes');
  assert.is(await answer(either.check(of('token', 'carol'), request())), 'yes');
  assert.match(await answer(either.check(ALICE, request())), /No rule/);
  assert.match(await answer(either.check(of('other', 'carol'), request())), /No rule/);
});

rules('an identity belongs to its issuer, even if another issuer and subject form the same text', async () => {
  const policy = await policyOf([
    { who: { identities: ['https://a:8443/lab:alice'], issuers: ['https://a:8443/lab'] } },
  ]);
  const alike = { issuer: 'https://a', subject: '8443/lab:alice', admin: false };
  assert.match(await answer(policy.check(alike, request())), /No rule/);
  assert.is(await answer(policy.check({ ...alike, issuer: 'https://a:8443/lab', subject: 'alice' }, request())), 'yes');
});

rules('streams of other owners are not found, whatever the rules allow', async () => {
  const policy = await policyOf([{ who: { identities: ['*'] }, targets: { networks: ['0.0.0.0/0'] } }]);
  for (const kind of ['hello', 'view', 'list', 'release'] as const) {
    assert.match(await answer(policy.check(BOB, { kind, stream: STREAM })), /^SCI_STREAM_NOT_FOUND/);
    assert.is(await answer(policy.check(ALICE, { kind, stream: STREAM })), 'yes');
  }
  assert.match(await answer(policy.check(BOB, update('10.0.0.1:1'))), /^SCI_STREAM_NOT_FOUND/);
});

rules('an admin without a rule may only view and release streams', async () => {
  const policy = await policyOf([{ who }]);
  for (const kind of ['view', 'list', 'release'] as const) {
    assert.is(await answer(policy.check(ROOT, { kind, stream: STREAM })), 'yes');
  }
  assert.match(await answer(policy.check(ROOT, request())), /No rule/);
  assert.match(await answer(policy.check(ROOT, update('10.0.0.1:1'))), /No rule/);
});

const NETS = { networks: ['10.0.1.0/24', '2001:db8::/32'], ports: ['5000-5010', 22] };

for (const [title, targets, asked, expected] of [
  ['an address in a network', NETS, '10.0.1.7:5010', /^yes/],
  ['an address as IPv6', NETS, '[::ffff:10.0.1.7]:22', /^yes/],
  ['IPv6', NETS, '[2001:db8::9]:5000', /^yes/],
  [
    'an address outside',
    NETS,
    '10.0.2.7:5000',
    /Target 10\.0\.2\.7:5000 is not allowed by rule r\. .*10\.0\.1\.0\/24.*ports: 5000-5010, 22\./,
  ],
  ['a port outside', NETS, '10.0.1.7:5011', /not allowed/],
  ['no targets at all', undefined, '10.0.1.7:5000', /No targets are allowed/],
  [
    'loopback in 0.0.0.0/0',
    { networks: ['0.0.0.0/0', '::/0'] },
    '127.0.0.1:80',
    /it is a loopback address, which needs its own network in the rule/,
  ],
  ['mapped loopback in 0.0.0.0/0', { networks: ['0.0.0.0/0', '::/0'] }, '[::ffff:127.0.0.1]:80', /loopback/],
  ['loopback in a wider network', { networks: ['126.0.0.0/7'] }, '127.0.0.1:80', /loopback/],
  ['loopback in its own network', { networks: ['127.0.0.0/8'] }, '127.0.0.1:80', /^yes/],
  ['a port outside, loopback', { networks: ['127.0.0.0/8'], ports: [22] }, '127.0.0.1:80', /not allowed by rule r\. /],
  ['metadata in 0.0.0.0/0', { networks: ['0.0.0.0/0'] }, '169.254.169.254:80', /metadata/],
  ['metadata in the link-local network', { networks: ['169.254.0.0/16'] }, '169.254.169.254:80', /metadata/],
  ['metadata in its own network', { networks: ['169.254.169.254'] }, '169.254.169.254:80', /^yes/],
  ['IPv6 metadata', { networks: ['fd00::/8'] }, '[fd00:ec2::254]:80', /metadata/],
  ['an address where names are allowed', { names: ['*'] }, '10.0.1.7:80', /not allowed/],
  ['a name', { names: ['detector.example'] }, 'detector.example:80', /^yes/],
  ['a name in capitals', { names: ['Detector.Example'] }, 'DETECTOR.example:80', /^yes/],
  ['a name below a domain', { names: ['*.example'] }, 'detector.example:80', /^yes/],
  [
    'the domain itself, with a pattern for names below it',
    { names: ['*.detector.example'] },
    'detector.example:80',
    /not allowed/,
  ],
  ['a name that only ends like the pattern', { names: ['*.ample'] }, 'detector.example:80', /not allowed/],
  ['a name whose addresses are allowed', { networks: ['10.0.1.0/24'] }, 'detector.example:80', /^yes/],
  [
    'a name with one address outside',
    { names: ['*'], networks: ['10.0.1.0/24'] },
    'both.example:80',
    /both\.example:80 resolves here to an address that is not allowed by rule r/,
  ],
  ['a name of loopback', { names: ['*'] }, 'inside.example:80', /resolves here to an address that is not allowed/],
  ['a name of an address with a zone', { names: ['*'] }, 'zone.example:80', /not allowed/],
  ['a name without addresses', { names: ['*'] }, 'nothing.example:80', /^SCI_TARGET_UNRESOLVED/],
] as const) {
  rules(`target: ${title}`, async () => {
    const resolver = names({
      'detector.example': ['10.0.1.5'],
      'both.example': ['10.0.1.5', '10.9.9.9'],
      'inside.example': ['127.0.0.1'],
      'zone.example': ['fe80::1%eth0'],
    });
    const policy = await policyOf([{ name: 'r', who, ...(targets && { targets }) }], resolver);
    assert.match(await answer(policy.check(ALICE, update(asked))), expected);
  });
}

rules('does not resolve a name that no rule allows', async () => {
  const policy = await policyOf([{ who, targets: { names: ['*.example'] } }]);
  assert.match(await answer(policy.check(ALICE, update('secret.other:80'))), /^SCI_FORBIDDEN/);
});

rules('targets may be allowed by different rules, and a name is resolved once per call', async () => {
  let looked = 0;
  const resolver: Resolver = () => Promise.resolve([`10.0.1.${(looked += 1)}`]);
  const policy = await policyOf(
    [
      { name: 'a', who, targets: { networks: ['10.0.1.0/24'] } },
      { name: 'b', who, targets: { networks: ['10.0.2.0/24'] } },
    ],
    resolver,
  );
  const granted = await policy.check(ALICE, update('n.example:1', '10.0.2.9:2', 'n.example:3'));
  assert.equal(granted.targets, [
    { host: '10.0.1.1', port: 1 },
    { host: '10.0.2.9', port: 2 },
    { host: '10.0.1.1', port: 3 },
  ]);
  assert.is(granted.rule, 'a,b');
});

for (const [title, text, expected] of [
  [
    'an unknown key with a suggestion',
    'rules: [{ who: { identities: ["*"] }, rolls: [PROD] }]',
    /rules\.0\.rolls is not a known key, did you mean roles\?/,
  ],
  ['no rules', 'rules: []', /rules needs a rule/],
  [
    'a bad network',
    'rules: [{ who: { identities: ["*"] }, targets: { networks: [10.0.0.1/8] } }]',
    /rules\.0\.targets\.networks\.0.*bits after its prefix/,
  ],
  ['a bad name', 'rules: [{ who: { identities: ["*"] }, targets: { names: [a.*.b] } }]', /not a host name/],
  [
    'an address among the names',
    'rules: [{ who: { identities: ["*"] }, targets: { names: [10.0.0.1] } }]',
    /not a host name/,
  ],
  ['empty who', 'rules: [{ who: {} }]', /who needs identities/],
  ['an empty list', 'rules: [{ who: { identities: [] } }]', /needs an entry/],
  [
    'an identity of none of its issuers',
    'rules: [{ who: { identities: ["token:alice"], issuers: [aps] } }]',
    /who never matches token:alice/,
  ],
  ['a pattern of identities', 'rules: [{ who: { identities: ["token:*"] } }]', /not an identity/],
] as const) {
  rules(`the file: ${title}`, async () => {
    const directory = await temporaryDirectory();
    const file = join(directory.path, 'policy.yaml');
    await writeFile(file, text);
    const policy = new RulesPolicy(file, placing);
    assert.match(await answer(policy.load().then(() => ({}))), expected);
    await directory.remove();
  });
}

rules('keeps the loaded rules if the new file is invalid', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'policy.yaml');
  await writeFile(file, JSON.stringify({ rules: [{ who }] }));
  const policy = new RulesPolicy(file, placing);
  await policy.load();
  await writeFile(file, 'rules: [{ who: { identities: ["token:bob"] }, nonsense: 1 }]');
  assert.match(await answer(policy.load().then(() => ({}))), /nonsense/);
  assert.is(await answer(policy.check(ALICE, request())), 'yes');
  await writeFile(file, 'rules: [{ who: { identities: ["token:bob"] } }]');
  await policy.load();
  assert.match(await answer(policy.check(ALICE, request())), /No rule/);
  await directory.remove();
});

rules('a probe needs a rule with probe or update for the target', async () => {
  const probe = (target: string): Action => ({ ...update(target), kind: 'probe' }) as Action;
  const targets = { networks: ['10.0.1.5'] };
  const check = async (actions: readonly string[] | undefined): Promise<string | boolean> => {
    const policy = await policyOf([{ name: 'r', who, actions, targets }]);
    assert.match(await answer(policy.check(ALICE, probe('10.0.1.6:22'))), /^SCI_FORBIDDEN/);
    const granted = policy.check(ALICE, probe('10.0.1.5:22'));
    const text = await answer(granted);
    return text === 'yes' ? (await granted).reasons !== false : text;
  };
  assert.match(String(await check(['view', 'hello', 'request'])), /does not allow action probe/);
  assert.is(await check(['update']), true);
  assert.is(await check(undefined), true);
  // Only callers that may use the target learn why it was not reached.
  assert.is(await check(['probe']), false);
  const policy = await policyOf([{ name: 'r', who, actions: ['probe'], targets }]);
  assert.match(await answer(policy.check(ALICE, update('10.0.1.5:22'))), /does not allow action update/);
});

rules.run();
