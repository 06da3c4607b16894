/** The rules of a policy file: who, limits, targets, what a refusal says, and how long a decision takes. */
import 'reflect-metadata';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Identity } from '@scistream/core';
import { RulesPolicy, type Resolver } from '@scistream/core/internal';
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
} from './support/policy.js';

const rules = suite('rules');

const who = { identities: ['token:alice'] };

for (const [title, rule, action, expected] of [
  ['who has a rule may', { who }, request(), /^yes/],
  ['a rule about everybody is about alice', { who: { identities: ['*'] } }, request(), /^yes/],
  ['a rule about the issuer is about alice', { who: { issuers: ['token'] } }, request(), /^yes/],
  ['nobody else may', { who: { identities: ['token:bob'] } }, request(), /No rule is about token:alice/],
  ['an identity is no pattern', { who: { identities: ['token:alic'] } }, request(), /No rule/],
  ['another issuer is another', { who: { issuers: ['https://idp.example'] } }, request(), /No rule/],
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
  ['no encryption, which no rule names', { who }, request({ encryption: 'none' }), /encryption none.*encryption: tls/],
  ['no encryption by name', { who, encryption: ['none'] }, request({ encryption: 'none' }), /^yes/],
  ['none does not mean tls', { who, encryption: ['none'] }, request(), /encryption tls/],
  ['as many connections', { who, limits: { connections: 4 } }, request({ connections: 4 }), /^yes/],
  ['more connections', { who, limits: { connections: 4 } }, request({ connections: 5 }), /5 connections.*at most 4/],
  ['as much bandwidth', { who, limits: { bandwidth: '1Gbps' } }, request({ bitsPerSecond: 1e9 }), /^yes/],
  [
    'more bandwidth',
    { who, limits: { bandwidth: '1Gbps' } },
    request({ bitsPerSecond: 2e9 }),
    /2 Gb\/s.*at most 1 Gb\/s/,
  ],
  ['bandwidth without end', { who, limits: { bandwidth: '1Gbps' } }, request(), /unlimited bandwidth.*at most 1 Gb\/s/],
  [
    'a longer life',
    { who, limits: { lifetime: '1h' } },
    request({ lifetimeMs: 7_200_000 }),
    /2 h lifetime.*at most 1 h/,
  ],
  ['the last stream', { who, limits: { streams: 2 } }, request({}, { streams: 1, bitsPerSecond: 0 }), /^yes/],
  [
    'one more',
    { who, limits: { streams: 2 } },
    request({}, { streams: 2, bitsPerSecond: 0 }),
    /3 streams at once.*at most 2/,
  ],
  [
    'the sum of bandwidth',
    { who, limits: { totalBandwidth: '3Gbps' } },
    request({ bitsPerSecond: 2e9 }, { streams: 1, bitsPerSecond: 2e9 }),
    /4 Gb\/s bandwidth of all streams together.*at most 3 Gb\/s/,
  ],
] as const) {
  rules(`request: ${title}`, async () => {
    assert.match(await answer((await policyOf([{ name: 'r', ...rule }])).check(ALICE, action)), expected);
  });
}

rules('one rule that allows is enough, and the one that came nearest says no', async () => {
  const policy = await policyOf([
    { name: 'first', who, roles: ['outbound'] },
    { name: 'second', who, limits: { connections: 2 } },
    { name: 'third', who: { identities: ['token:bob'] } },
  ]);
  assert.is((await policy.check(ALICE, request())).rule, 'second');
  assert.match(await answer(policy.check(ALICE, request({ connections: 3 }))), /^SCI_FORBIDDEN: Rule second/);
});

rules('who asks for the longest life gets that of the rule; the ids that were judged are granted', async () => {
  const policy = await policyOf([{ name: 'r', who, limits: { lifetime: '2h' } }]);
  assert.equal(await policy.check(ALICE, request()), { rule: 'r', ...PLACED, lifetimeMs: 7_200_000 });
});

rules('a group is that of its issuer when the rule says so', async () => {
  const plain = await policyOf([{ who: { groups: ['ops'] } }]);
  const bound = await policyOf([{ who: { groups: ['ops'], issuers: ['https://idp.example'] } }]);
  const member = (issuer: string): Identity => ({ issuer, subject: 'alice', admin: false, groups: ['users', 'ops'] });
  assert.is(await answer(plain.check(member('token'), request())), 'yes');
  assert.is(await answer(bound.check(member('https://idp.example'), request())), 'yes');
  assert.match(await answer(bound.check(member('https://evil.example'), request())), /No rule/);
  assert.match(await answer(bound.check({ ...member('https://idp.example'), groups: [] }, request())), /No rule/);
});

rules('issuers narrow identities, too', async () => {
  const named = (who: object) => policyOf([{ who }]);
  const of = (issuer: string, subject: string): Identity => ({ issuer, subject, admin: false, groups: ['ops'] });
  const alice = await named({ identities: ['token:alice'], issuers: ['token'] });
  assert.is(await answer(alice.check(ALICE, request())), 'yes');
  assert.match(await answer(alice.check(BOB, request())), /No rule is about token:bob/);
  const all = await named({ identities: ['*'], issuers: ['token'] });
  assert.is(await answer(all.check(BOB, request())), 'yes');
  assert.match(await answer(all.check(of('aps', 'eve'), request())), /No rule/);
  const either = await named({ identities: ['aps:eve'], groups: ['ops'], issuers: ['aps', 'token'] });
  assert.is(await answer(either.check({ ...of('aps', 'eve'), groups: [] }, request())), 'yes');
  assert.is(await answer(either.check(of('token', 'carol'), request())), 'yes');
  assert.match(await answer(either.check(ALICE, request())), /No rule/);
  assert.match(await answer(either.check(of('other', 'carol'), request())), /No rule/);
});

rules('an identity is one of the issuer, even where another issuer and subject are written alike', async () => {
  const policy = await policyOf([
    { who: { identities: ['https://a:8443/lab:alice'], issuers: ['https://a:8443/lab'] } },
  ]);
  const alike = { issuer: 'https://a', subject: '8443/lab:alice', admin: false };
  assert.match(await answer(policy.check(alike, request())), /No rule/);
  assert.is(await answer(policy.check({ ...alike, issuer: 'https://a:8443/lab', subject: 'alice' }, request())), 'yes');
});

rules('a stream of somebody else does not exist, whatever the rules allow', async () => {
  const policy = await policyOf([{ who: { identities: ['*'] }, targets: { networks: ['0.0.0.0/0'] } }]);
  for (const kind of ['hello', 'view', 'list', 'release'] as const) {
    assert.match(await answer(policy.check(BOB, { kind, stream: STREAM })), /^SCI_STREAM_NOT_FOUND/);
    assert.is(await answer(policy.check(ALICE, { kind, stream: STREAM })), 'yes');
  }
  assert.match(await answer(policy.check(BOB, update('10.0.0.1:1'))), /^SCI_STREAM_NOT_FOUND/);
});

rules('an admin without a rule may see and end streams, and no more', async () => {
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
    /Target 10\.0\.2\.7:5000 is not allowed by rule r\. .*10\.0\.1\.0\/24.*5000-5010, 22-22/,
  ],
  ['a port outside', NETS, '10.0.1.7:5011', /not allowed/],
  ['no targets at all', undefined, '10.0.1.7:5000', /Allowed are no targets/],
  [
    'loopback in everything',
    { networks: ['0.0.0.0/0', '::/0'] },
    '127.0.0.1:80',
    /it is a loopback address, which a network of the rule has to name/,
  ],
  ['mapped loopback in everything', { networks: ['0.0.0.0/0', '::/0'] }, '[::ffff:127.0.0.1]:80', /loopback/],
  ['loopback in a wider network', { networks: ['126.0.0.0/7'] }, '127.0.0.1:80', /loopback/],
  ['loopback by name', { networks: ['127.0.0.0/8'] }, '127.0.0.1:80', /^yes/],
  ['metadata in everything', { networks: ['0.0.0.0/0'] }, '169.254.169.254:80', /metadata/],
  ['metadata among link-local', { networks: ['169.254.0.0/16'] }, '169.254.169.254:80', /metadata/],
  ['metadata by name', { networks: ['169.254.169.254'] }, '169.254.169.254:80', /^yes/],
  ['metadata of IPv6', { networks: ['fd00::/8'] }, '[fd00:ec2::254]:80', /metadata/],
  ['an address where names are allowed', { names: ['*'] }, '10.0.1.7:80', /not allowed/],
  ['a name', { names: ['detector.example'] }, 'detector.example:80', /^yes/],
  ['a name in capitals', { names: ['Detector.Example'] }, 'DETECTOR.example:80', /^yes/],
  ['a name below a domain', { names: ['*.example'] }, 'detector.example:80', /^yes/],
  ['not the domain itself', { names: ['*.detector.example'] }, 'detector.example:80', /not allowed/],
  ['not a name that ends alike', { names: ['*.ample'] }, 'detector.example:80', /not allowed/],
  ['a name whose addresses are allowed', { networks: ['10.0.1.0/24'] }, 'detector.example:80', /^yes/],
  [
    'a name with one address outside',
    { names: ['*'], networks: ['10.0.1.0/24'] },
    'both.example:80',
    /both\.example:80 has an address here that is not allowed by rule r/,
  ],
  ['a name that means loopback', { names: ['*'] }, 'inside.example:80', /has an address here that is not allowed/],
  ['a name that means an address with a zone', { names: ['*'] }, 'zone.example:80', /not allowed/],
  ['a name that means nothing', { names: ['*'] }, 'nothing.example:80', /^SCI_TARGET_UNRESOLVED/],
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

rules('a name that no rule allows is not even looked up', async () => {
  const policy = await policyOf([{ who, targets: { names: ['*.example'] } }]);
  assert.match(await answer(policy.check(ALICE, update('secret.other:80'))), /^SCI_FORBIDDEN/);
});

rules('each target may have a rule of its own, and a name is looked up once for all of them', async () => {
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
    'an unknown key names the nearest',
    'rules: [{ who: { identities: ["*"] }, rolls: [PROD] }]',
    /rules\.0\.rolls is not a known key, did you mean roles\?/,
  ],
  ['no rules', 'rules: []', /rules needs a rule/],
  [
    'a bad network',
    'rules: [{ who: { identities: ["*"] }, targets: { networks: [10.0.0.1/8] } }]',
    /rules\.0\.targets\.networks\.0.*bits behind its prefix/,
  ],
  ['a bad name', 'rules: [{ who: { identities: ["*"] }, targets: { names: [a.*.b] } }]', /not a host name/],
  [
    'an address among the names',
    'rules: [{ who: { identities: ["*"] }, targets: { names: [10.0.0.1] } }]',
    /not a host name/,
  ],
  ['nobody', 'rules: [{ who: {} }]', /who needs identities/],
  ['an empty list', 'rules: [{ who: { identities: [] } }]', /needs an entry/],
  [
    'an identity of none of its issuers',
    'rules: [{ who: { identities: ["token:alice"], issuers: [aps] } }]',
    /who is about nobody.*token:alice/,
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

rules('a file that has become wrong changes nothing; one that is right changes all', async () => {
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

rules.run();
