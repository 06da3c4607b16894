/** Networks and special addresses. */
import 'reflect-metadata';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { contains, endpointsOf, isUnspecified, parseIp, parseNetwork, specialOf } from '@scistream/core/internal';

const networks = suite('networks');

for (const [network, inside, outside] of [
  [
    '10.0.0.0/8',
    ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::FFFF:a01:203'],
    ['11.0.0.0', '9.255.255.255', '::a01:203'],
  ],
  ['10.0.1.5', ['10.0.1.5'], ['10.0.1.4', '10.0.1.6']],
  ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255', '::ffff:1.2.3.4'], ['::', '2001:db8::1']],
  ['::/0', ['::', '::1', '2001:db8::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'], ['10.0.0.1', '::ffff:10.0.0.1']],
  ['::ffff:10.0.0.0/104', ['10.1.2.3'], ['11.0.0.0', '::a01:203']],
  ['2001:db8::/33', ['2001:db8::', '2001:db8:7fff::1'], ['2001:db8:8000::', '2001:db9::']],
  ['2001:db8::5', ['2001:db8::5', '2001:db8:0:0:0:0:0:5', '2001:DB8::0.0.0.5'], ['2001:db8::4', '2001:db8::5:0']],
] as const) {
  networks(`${network} contains its addresses and no others`, () => {
    const parsed = parseNetwork(network);
    const has = (text: string): boolean => {
      const ip = parseIp(text);
      if (!ip) throw new Error(`${text} is not an address`);
      return contains(parsed, ip);
    };
    for (const text of inside) assert.ok(has(text), text);
    for (const text of outside) assert.not.ok(has(text), text);
  });
}

networks('rejects invalid networks', () => {
  const bad = ['', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/08', '10.0.0/8', '10.0.0.0/-1', '10.0.0.1/8'];
  for (const text of [
    ...bad,
    '2001:db8::1/32',
    'fe80::1%eth0',
    'fe80::%eth0/64',
    'host',
    '10.0.0.0/8/8',
    '[::1]',
    ' ::1',
  ]) {
    assert.throws(
      () => parseNetwork(text),
      (error: unknown) => SciStreamError.is(error),
      text,
    );
  }
});

networks('rejects addresses with a zone', () => {
  assert.is(parseIp('fe80::1%eth0'), undefined);
  assert.is(parseIp('10.0.0.1%0'), undefined);
});

for (const [text, what] of [
  ['127.0.0.1', /loopback/],
  ['127.255.0.9', /loopback/],
  ['::1', /loopback/],
  ['::ffff:127.0.0.1', /loopback/],
  ['::127.0.0.1', /loopback/],
  ['64:ff9b::7f00:1', /loopback/],
  ['64:ff9b::a9fe:a9fe', /metadata/],
  ['169.254.169.254', /metadata/],
  ['::ffff:169.254.169.254', /metadata/],
  ['fd00:ec2::254', /metadata/],
  ['fd20:ce::254', /metadata/],
  ['fd00:42::42', /metadata/],
  ['100.100.100.200', /metadata/],
  ['168.63.129.16', /metadata/],
  ['192.0.0.192', /metadata/],
  ['64:ff9b:1::7f00:1', /loopback/],
  ['64:ff9b:1::a9fe:a9fe', /metadata/],
  ['64:ff9b:1:fffe::7f00:1', /loopback/],
  ['64:ff9b:1:7f00:0:100::', /loopback/],
  ['64:ff9b:1:a9:fe:a9fe::', /metadata/],
  ['64:ff9b:1:5:a9:fea9:fe00:0', /metadata/],
  ['64:ff9b:1::', /unspecified/],
  ['2002:7f00:1::', /loopback/],
  ['2002:a9fe:a9fe:5::1', /metadata/],
  ['::ffff:0:7f00:1', /loopback/],
  ['::ffff:0:169.254.169.254', /metadata/],
  ['169.254.1.1', /link-local/],
  ['fe80::1', /link-local/],
  ['febf::1', /link-local/],
  ['0.0.0.0', /unspecified/],
  ['0.1.2.3', /unspecified/],
  ['::', /unspecified/],
  ['224.0.0.1', /multicast/],
  ['255.255.255.255', /broadcast/],
  ['ff02::1', /multicast/],
] as const) {
  networks(`${text} is special`, () =>
    assert.match(specialOf(parseIp(text) ?? { four: false, words: [] })?.what ?? '', what),
  );
}

networks('ordinary addresses are not special', () => {
  for (const text of [
    '10.0.0.1',
    '126.255.255.255',
    '128.0.0.1',
    '169.253.0.1',
    '223.255.255.255',
    'fec0::1',
    '2001:db8::1',
    '100.100.100.201',
    '64:ff9b::808:808',
    '64:ff9b:1::808:808',
    '64:ff9b:1:808:8:800::',
    '64:ff9b:2::7f00:1',
    '2002:808:808::7f00:1',
    '::fffe:0:7f00:1',
    '::ffff:0:808:808',
  ]) {
    assert.is(specialOf(parseIp(text) ?? { four: false, words: [] }), undefined, text);
  }
});

networks('random addresses are in a network exactly if their first bits are the same', () => {
  const random = (): number => Math.floor(Math.random() * 2 ** 32);
  const dotted = (word: number): string => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
  for (let i = 0; i < 5_000; i += 1) {
    const prefix = Math.floor(Math.random() * 33);
    const size = 2 ** (32 - prefix);
    const base = Math.floor(random() / size) * size;
    // Near the network, or the answer would nearly always be no.
    const near = (base + Math.floor((Math.random() * 3 - 1) * size) + 2 ** 32) % 2 ** 32;
    const network = parseNetwork(`${dotted(base)}/${prefix}`);
    const expected = Math.floor(near / size) === base / size;
    for (const text of [dotted(near), `::ffff:${dotted(near)}`]) {
      const ip = parseIp(text);
      assert.is(ip && contains(network, ip), expected, `${text} in ${network.text}`);
    }
  }
});

networks('two notations of one endpoint have a key in common, and different endpoints have none', () => {
  const keys = (host: string, port = 5000): readonly string[] => endpointsOf({ host, port });
  const meet = (a: readonly string[], b: readonly string[]): boolean => a.some((key) => b.includes(key));
  const own = keys('10.0.1.254');
  for (const host of ['::ffff:10.0.1.254', '::ffff:a00:1fe', '64:ff9b::a00:1fe', '2002:a00:1fe::', '::10.0.1.254'])
    assert.ok(meet(own, keys(host)), host);
  assert.ok(meet(keys('2001:db8::5'), keys('2001:DB8:0:0::5')));
  for (const host of ['10.0.1.253', '::ffff:10.0.1.253', 'gateway.example', 'fe80::1%lo'])
    assert.not.ok(meet(own, keys(host)), host);
  assert.not.ok(meet(own, keys('10.0.1.254', 5001)));
});

networks('unspecified addresses are recognized in every notation', () => {
  for (const host of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0', '::ffff:0.0.0.0', '::ffff:0:0', '64:ff9b::'])
    assert.ok(isUnspecified(host), host);
  for (const host of ['0.0.0.1', '::1', '127.0.0.1', '::ffff:127.0.0.1', 'example'])
    assert.not.ok(isUnspecified(host), host);
});

networks.run();
