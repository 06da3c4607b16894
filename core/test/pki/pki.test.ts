/** Certificates of a facility: issue, renewal and inspection. */
import type { X509Certificate } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import {
  alternativeNamesOf,
  describeCertificate,
  flawsOf,
  issue,
  keyBelongs,
  makeAuthority,
  parseCertificate,
  parseHostName,
  renew,
  type Expectations,
  type IssueWish,
} from '@scistream/core/pki';

const s = suite('certificates of a facility');

const DAY_MS = 86_400_000;
const inDays = (days: number): Date => new Date(Date.now() + days * DAY_MS);
const ca = makeAuthority('CA of a test');
const parse = ({ certificate }: { readonly certificate: string }): X509Certificate =>
  parseCertificate(certificate, 'it');
const server = (...hosts: string[]): IssueWish => ({
  name: hosts[0] ?? '',
  purposes: ['server'],
  alternativeNames: hosts.map(parseHostName),
});

/** Flaws of a certificate in one text. */
function flaws(pair: { readonly certificate: string }, expected: Expectations = {}): string {
  return flawsOf(parse(pair), expected)
    .map(({ level, message }) => `${level}: ${message}`)
    .join('\n');
}

s('a server certificate is valid only for the requested names', () => {
  const pair = issue(ca, server('s2cs.aps.example', '203.0.113.10', '2001:DB8::7', '*.lab.example'));
  const certificate = parse(pair);
  for (const name of ['s2cs.aps.example', 'S2CS.aps.example', 'x.lab.example'])
    assert.ok(certificate.checkHost(name), name);
  for (const ip of ['203.0.113.10', '2001:db8:0::7']) assert.ok(certificate.checkIP(ip), ip);
  assert.is(certificate.checkHost('aps.example'), undefined);
  assert.is(certificate.checkIP('203.0.113.11'), undefined);
  const { alternativeNames, purposes, authority } = describeCertificate(certificate);
  assert.equal(
    alternativeNames.map(({ value }) => value),
    ['s2cs.aps.example', '203.0.113.10', '2001:db8::7', '*.lab.example'],
  );
  assert.equal([purposes, authority], [['server'], false]);
  assert.ok(keyBelongs(certificate, pair.key));
  assert.is(flaws(pair, { ca: parse(ca), key: pair.key, host: '203.0.113.10' }), '');
  const days = (Date.parse(certificate.validTo) - Date.now()) / DAY_MS;
  assert.ok(days > 396 && days < 398, `${days} days`);
});

s('reports common mistakes', () => {
  const client = issue(ca, { name: 'alice', purposes: ['client'] });
  const good = issue(ca, server('a.example'));
  const old = makeAuthority('old', inDays(-3700));
  const cases: readonly (readonly [string, RegExp])[] = [
    [flaws(issue(ca, { name: 'a.example', purposes: ['server'] })), /problem: .*no alternative names/],
    [flaws(ca, { use: 'server' }), /problem: It is an authority, not a server certificate/],
    [flaws(good, { use: 'authority' }), /problem: It is not an authority/],
    [flaws(client, { use: 'server' }), /problem: It is not valid for a server, only for a client/],
    [flaws(good, { host: 'b.example' }), /problem: It is not valid for b\.example, only for a\.example/],
    [flaws(good, { host: '10.0.0.1' }), /problem: It is not valid for 10\.0\.0\.1/],
    [flaws(good, { ca: parse(makeAuthority('CA of a test')) }), /problem: It was not signed by CA of a test/],
    [flaws(good, { key: client.key }), /problem: The key does not belong/],
    [flaws(good, { key: 'no key' }), /problem: The key does not belong/],
    [flaws(good, { now: inDays(400) }), /problem: It expired/],
    [flaws(good, { now: inDays(380) }), /warning: It expires in 1[67] days/],
    [flaws(good, { now: inDays(-1) }), /problem: It is not valid before/],
    [flaws(old), /problem: It expired/],
  ];
  for (const [said, expected] of cases) assert.match(said, expected);
  assert.equal([flaws(client), flaws(ca), flaws(good)], ['', '', '']);
});

s('certificates expire with their authority, and an expired authority signs nothing', () => {
  const tired = makeAuthority('tired', inDays(-3600));
  assert.is(parse(issue(tired, server('a.example'))).validTo, parse(tired).validTo);
  const dead = makeAuthority('dead', inDays(-3651));
  for (const [signer, why] of [
    [dead, /expired/],
    [issue(ca, server('a.example')), /not an authority/],
    [{ ...ca, key: makeAuthority('x').key }, /its key does not match/],
    [{ ...ca, key: 'no key' }, /cannot be used/],
  ] as const) {
    assert.throws(
      () => issue(signer, server('b.example')),
      (error: unknown) =>
        SciStreamError.is(error) && error.code === 'SCI_CERTIFICATE_INVALID' && why.test(error.message),
    );
  }
});

s('a renewed certificate has the same contents, with the same key or a new one', () => {
  const old = issue(ca, { ...server('a.example', '10.0.0.1', '2001:db8::1'), days: 2 });
  const same = renew(old, ca);
  const other = renew(old, ca, { newKey: true, days: 10 });
  assert.is(same.key, old.key);
  assert.is.not(other.key, old.key);
  for (const pair of [same, other]) {
    assert.equal(alternativeNamesOf(parse(pair)), alternativeNamesOf(parse(old)));
    assert.is.not(parse(pair).serialNumber, parse(old).serialNumber);
    assert.is(
      flaws(pair, { ca: parse(ca), key: pair.key, use: 'server' }).replace(/^warning: It expires in \d+ days.*$/, ''),
      '',
    );
  }
  assert.ok(parse(same).validTo !== parse(old).validTo);
  const client = renew(issue(ca, { name: 'alice', purposes: ['client'] }), ca);
  assert.equal(describeCertificate(parse(client)).purposes, ['client']);
});

s('a renewed authority keeps its key, so that its certificates stay valid', () => {
  const aged = makeAuthority('aged', inDays(-3640));
  const pair = issue(aged, server('a.example'));
  const young = renew(aged, undefined);
  assert.is(flawsOf(parse(pair), { ca: parse(young) }).filter(({ level }) => level === 'problem').length, 0);
  assert.ok(Date.parse(parse(young).validTo) > Date.parse(parse(aged).validTo));
});

s('accepts DNS names and addresses without port', () => {
  assert.equal(parseHostName('[2001:db8::1]'), { type: 'ip', value: '2001:db8::1' });
  assert.equal(parseHostName('A.example.'), { type: 'dns', value: 'a.example' });
  for (const text of [
    '',
    'a b',
    'https://a',
    'a:5000',
    '10.0.0.1:5000',
    '10.0.0',
    '1.2.3.4.5',
    'fe80::1%eth0',
    '-a',
    'a,b',
    '*',
    'a.*.b',
    'é.example',
    'x'.repeat(64),
    `${'a.'.repeat(130)}a`,
  ]) {
    assert.throws(
      () => parseHostName(text),
      (error: unknown) => SciStreamError.is(error) && error.code === 'SCI_USAGE',
      text,
    );
  }
});

s('a name that looks like several names is one name', () => {
  const value = 'urn:a, DNS:evil.example';
  const pair = issue(ca, {
    name: 'x',
    purposes: ['client'],
    alternativeNames: [
      { type: 'uri', value },
      { type: 'dns', value: 'b.example' },
    ],
  });
  assert.equal(alternativeNamesOf(parse(pair)), [
    { type: 'uri', value },
    { type: 'dns', value: 'b.example' },
  ]);
  assert.not.ok(parse(pair).checkHost('evil.example'));
});

s.run();
