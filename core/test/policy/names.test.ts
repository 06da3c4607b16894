/** Names of targets: parallel lookups, and addresses hidden from the caller. */
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Identity } from '@scistream/core';
import { AuditedPolicy, AuditLog, NameLookups, type Resolver, parseAddress } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { ALICE, answer, names, policyOf, STREAM, update } from '../support/policy.js';

const lookups = suite('names of targets');

const ANYTHING = [{ name: 'all', who: { identities: ['*'] }, targets: { networks: ['10.0.0.0/8'] } }];
const hosts = (count: number): string[] => Array.from({ length: count }, (_, i) => `x${i}.attacker.example:80`);
const owned = ({ issuer, subject }: Identity, ...targets: string[]) =>
  ({
    kind: 'update',
    stream: { ...STREAM, owner: `${issuer}:${subject}` },
    targets: targets.map((text) => parseAddress(text)),
  }) as const;
const person = (subject: string): Identity => ({ issuer: 'token', subject, admin: false });

lookups('rejects more than 32 names in a call before any lookup', async () => {
  const policy = await policyOf(ANYTHING);
  assert.match(
    await answer(policy.check(ALICE, update(...hosts(33)))),
    /^SCI_TARGETS_INVALID: The call has 33 host names/,
  );
});

lookups('accepts many targets with few names', async () => {
  let looked = 0;
  const policy = await policyOf(ANYTHING, () => Promise.resolve([`10.0.0.${(looked += 1)}`]));
  const targets = [...hosts(32), ...hosts(32), ...Array.from({ length: 500 }, (_, i) => `10.1.0.1:${i + 1}`)];
  assert.is((await policy.check(ALICE, update(...targets))).targets?.length, 564);
  assert.is(looked, 32);
});

lookups('a caller whose names have no answer does not block other callers', async () => {
  const asked: string[] = [];
  let letGo = (): void => undefined;
  const silence = new Promise<void>((resolve) => (letGo = resolve));
  const resolver: Resolver = async (host) => {
    asked.push(host);
    if (host.endsWith('attacker.example')) await silence;
    return ['10.0.0.1'];
  };
  const policy = await policyOf(ANYTHING, resolver);
  const mallory = person('mallory');
  const calls = [1, 2, 3].map(() => answer(policy.check(mallory, owned(mallory, ...hosts(32)))));
  const bob = person('bob');
  assert.is(await answer(policy.check(bob, owned(bob, 'producer.site:9'))), 'yes');
  assert.equal(asked, ['x0.attacker.example', 'producer.site']);
  letGo();
  assert.equal(await Promise.all(calls), ['yes', 'yes', 'yes']);
});

lookups('starts no lookup after the end of a call, and the next call follows', async () => {
  const asked: string[] = [];
  let letGo = (): void => undefined;
  const silence = new Promise<void>((resolve) => (letGo = resolve));
  const found = new NameLookups(async (host) => {
    asked.push(host);
    if (host === 'x0.attacker.example') await silence;
    return ['10.0.0.1'];
  }, 20);
  const call = async (...targets: string[]): Promise<string> =>
    await answer(found.lookUp(ALICE, owned(ALICE, ...targets)).then(() => ({})));
  assert.match(await call(...hosts(3)), /^SCI_TARGET_UNRESOLVED: Host x0\.attacker\.example .* in time/);
  assert.match(await call('waits.example:1'), /^SCI_TARGET_UNRESOLVED: Host waits\.example .* in time/);
  letGo();
  assert.is(await call('next.example:1'), 'yes');
  assert.equal(asked, ['x0.attacker.example', 'next.example']);
});

lookups('runs at most two lookups at a time for all callers', async () => {
  let [under, most] = [0, 0];
  const found = new NameLookups(async () => {
    most = Math.max(most, (under += 1));
    await new Promise(setImmediate);
    under -= 1;
    return ['10.0.0.1'];
  });
  const people = ['a', 'b', 'c', 'd', 'e'].map(person);
  await Promise.all(people.map((one) => found.lookUp(one, owned(one, ...hosts(8)))));
  assert.is(most, 2);
});

lookups('the audit log contains the address of a name, the answer to the caller does not', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const rules = [{ name: 'r', who: { identities: ['*'] }, targets: { networks: ['203.0.113.10'] } }];
  const resolver = names({ 'secret-db.corp.internal': ['10.77.3.14'], 'meta.corp.internal': ['169.254.169.254'] });
  const policy = new AuditedPolicy(await policyOf(rules, resolver), new AuditLog({ file, size: 1e6, keep: 1 }));
  const said = [
    await answer(policy.check(ALICE, update('secret-db.corp.internal:5432'))),
    await answer(policy.check(ALICE, update('meta.corp.internal:80'))),
  ];
  policy.close();
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  const reasons = lines.map((line) => (JSON.parse(line) as { reason: string; rule: string }).reason);
  await directory.remove();
  assert.match(
    said[0] ?? '',
    /^SCI_FORBIDDEN: Target secret-db\.corp\.internal:5432 resolves here to an address that .* rule r/,
  );
  for (const text of said) assert.not.match(text, /10\.77|169\.254|metadata/);
  assert.match(
    reasons[0] ?? '',
    /secret-db\.corp\.internal:5432, which resolves to 10\.77\.3\.14 here, is not allowed by rule r/,
  );
  assert.match(reasons[1] ?? '', /169\.254\.169\.254.*metadata/);
});

lookups('rejects names in a probe, because the gateway would resolve them again', async () => {
  const policy = await policyOf(ANYTHING);
  const probe = { kind: 'probe', stream: STREAM, targets: [parseAddress('producer.site:9')] } as const;
  assert.match(await answer(policy.check(ALICE, probe)), /^SCI_FORBIDDEN: .*producer\.site/);
});

lookups('keeps all addresses of a name if one rule allows them, and at most eight', async () => {
  const many = Array.from({ length: 12 }, (_, i) => `10.0.0.${i + 1}`);
  const resolver = names({
    'two.site': ['10.0.0.2', '10.0.0.1', '10.0.0.2'],
    'many.site': many,
    'mixed.site': ['10.0.0.1', '192.0.2.1'],
  });
  const policy = await policyOf(ANYTHING, resolver);
  const targetsOf = async (...targets: string[]) => (await policy.check(ALICE, update(...targets))).targets;
  assert.equal(await targetsOf('two.site:9', '10.0.0.7:9'), [
    { host: '10.0.0.2', port: 9, fallbacks: ['10.0.0.1'] },
    { host: '10.0.0.7', port: 9 },
  ]);
  assert.equal(await targetsOf('many.site:9'), [{ host: '10.0.0.1', port: 9, fallbacks: many.slice(1, 8) }]);
  assert.match(await answer(policy.check(ALICE, update('mixed.site:9'))), /^SCI_FORBIDDEN/);
});

lookups.run();
