/** Texts of people and peers: each is understood exactly or rejected. */
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { formatAddress, parseDuration, quote } from '@scistream/core';
import { parseFingerprint, parsePortRange } from '@scistream/core/config';
import {
  contains,
  endpointsOf,
  parseHostPattern,
  parseIp,
  parseNetwork,
  parseName,
  parseRole,
  specialOf,
  isHost,
  parseUid,
  isLoopback,
  parseAddress,
  parsePort,
  parseRate,
} from '@scistream/core/internal';
import { hostileText, hunt, nearly, refusalOf } from './hunt.js';

const s = hunt('texts');

const ADDRESSES = [
  '10.0.1.5:5001',
  '[2001:db8::5]:5001',
  'detector.example:5001',
  '[::ffff:10.0.0.1]:65535',
  'a_b-c:1',
];

s('address: text', hostileText(ADDRESSES), (text) => {
  const result = refusalOf(() => parseAddress(text));
  if ('code' in result) return assert.is(result.code, 'SCI_ADDRESS_INVALID');
  const { host, port } = result.value;
  assert.ok(isHost(host) && Number.isInteger(port) && port > 0 && port < 65_536, text);
  // No character that could end a word, a line or a directive of a configuration file.
  assert.match(host, /^[a-z0-9._:-]+$/, text);
  assert.equal(parseAddress(formatAddress(result.value)), result.value);
  assert.type(isLoopback(host), 'boolean');
});

const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
s('address: there and back', fc.tuple(host, fc.integer({ min: 1, max: 65_535 })), ([one, port]) => {
  fc.pre(isHost(one));
  const address = { host: one.toLowerCase(), port };
  assert.equal(parseAddress(formatAddress(address)), address);
});

/** One IPv6 address in some of its spellings; the last 32 bits as IPv4 too. */
function spellings(words: readonly number[]): readonly string[] {
  const hex = words.map((word) => word.toString(16));
  const padded = hex.map((word) => word.padStart(4, '0'));
  const dotted = words.slice(6).flatMap((word) => [word >> 8, word & 255]);
  const zeros = /(^|:)0(:0)+(?=:|$)/;
  const short = hex.join(':').replace(zeros, (_, before: string) => (before === '' ? ':' : '::'));
  const all = [hex.join(':'), padded.join(':'), `${hex.slice(0, 6).join(':')}:${dotted.join('.')}`, short];
  return [...all, ...all.map((text) => text.toUpperCase())].filter((text) => isIPv6(text));
}

const word = fc.integer({ min: 0, max: 65_535 });
const prefix = fc.constantFrom(
  [0, 0, 0, 0, 0, 0xffff],
  [0, 0, 0, 0, 0, 0],
  [0x64, 0xff9b, 0, 0, 0, 0],
  [0x2001, 0xdb8, 0, 0, 0, 0],
);
const words = fc.oneof(
  fc.array(word, { minLength: 8, maxLength: 8 }),
  fc.tuple(prefix, fc.array(word, { minLength: 2, maxLength: 2 })).map((parts) => parts.flat()),
);

s('address: spellings', fc.tuple(words, fc.integer({ min: 1, max: 65_535 })), ([all, port]) => {
  const [keys = [], ...others] = spellings(all).map((text) => endpointsOf(parseAddress(`[${text}]:${port}`)));
  assert.ok(keys.length > 0);
  for (const other of others) assert.equal(other, keys);
  const [high = 0, low = 0] = all.slice(6);
  const four = `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  const isMapped = all.slice(0, 6).join() === '0,0,0,0,0,65535';
  if (isMapped)
    assert.ok(
      endpointsOf({ host: four, port }).some((key) => keys.includes(key)),
      four,
    );
  for (const zone of ['%eth0', '%25eth0', '%']) {
    const refusal = refusalOf(() => parseAddress(`[${all.map((one) => one.toString(16)).join(':')}${zone}]:${port}`));
    assert.equal(refusal, { code: 'SCI_ADDRESS_INVALID' });
  }
});

const NUMBERS = ['20Gbps', '1.5h', '250ms', '5100-5200', '1000000', '5000', '0.000001Tbit/s', '999999999d'];

s('rate, duration, ports', hostileText(NUMBERS), (text) => {
  const rate = refusalOf(() => parseRate(text));
  if ('code' in rate) assert.is(rate.code, 'SCI_RATE_INVALID');
  else assert.ok(Number.isSafeInteger(rate.value) && rate.value >= 1 && rate.value <= 1e15, text);
  const duration = refusalOf(() => parseDuration(text));
  if ('code' in duration) assert.is(duration.code, 'SCI_DURATION_INVALID');
  else assert.ok(Number.isSafeInteger(duration.value) && duration.value >= 1, text);
  const range = refusalOf(() => parsePortRange(text));
  if ('code' in range) assert.is(range.code, 'SCI_PORT_RANGE_INVALID');
  else assert.ok(1 <= range.value.first && range.value.first <= range.value.last && range.value.last <= 65_535, text);
  const port = parsePort(text);
  if (port !== undefined) assert.is(String(port), text);
});

const NETWORKS = [
  '10.0.0.0/8',
  '2001:db8::/32',
  '::ffff:10.0.0.0/104',
  '::1',
  '*.example.org',
  'a.example',
  '0.0.0.0/0',
];

s('network, host pattern', hostileText(NETWORKS), (text) => {
  const network = refusalOf(() => parseNetwork(text));
  if ('value' in network) {
    assert.ok(contains(network.value, network.value), text);
    assert.equal(parseNetwork(network.value.text), network.value);
  }
  const pattern = refusalOf(() => parseHostPattern(text));
  if ('value' in pattern) assert.match(pattern.value, /^(\*|(\*\.)?[a-z0-9._-]+)$/);
  const ip = parseIp(text);
  if (!ip) return;
  assert.is(ip.words.length, 4);
  assert.ok(
    ip.words.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32),
    text,
  );
  assert.is(specialOf(ip)?.what === '', false);
});

const NAMES = ['tomo.1', '6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10', 'PROD', `sha256:${'ab'.repeat(32)}`];

s('uid, role, name', hostileText(NAMES), (text) => {
  const uid = refusalOf(() => parseUid(text));
  if ('value' in uid) assert.match(uid.value, /^[A-Za-z0-9-]{8,64}$/);
  const role = refusalOf(() => parseRole(text));
  if ('value' in role) assert.ok(text === 'PROD' || text === 'CONS');
  const name = refusalOf(() => parseName(text));
  if ('value' in name) assert.match(name.value, /^[A-Za-z0-9._-]{0,64}$/);
  const fingerprint = refusalOf(() => parseFingerprint(text));
  if ('value' in fingerprint) assert.match(fingerprint.value, /^sha256:[0-9a-f]{64}$/);
  for (const { value } of [uid, name].filter((one) => 'value' in one)) assert.not.match(value, /[/\\\0]|^\.\.?$/);
});

s('texts in messages', fc.oneof(nearly(NAMES), hostileText(), fc.anything()), (value) => {
  const text = quote(value);
  assert.not.match(text, /[\p{Cc}\p{Cf}\u2028\u2029]/u, JSON.stringify(text));
  assert.ok(text.length <= 80, `${text.length} characters`);
});

s.run();
