import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import { isHost, isLoopback, parseAddress, parsePort } from '@scistream/core/internal';

const s = suite('address');

s('parses host:port and formats it back', () => {
  for (const [text, host, port, written = text] of [
    ['10.0.1.5:5001', '10.0.1.5', 5001],
    ['0.0.0.0:1', '0.0.0.0', 1],
    ['255.255.255.255:65535', '255.255.255.255', 65535],
    ['[::1]:5000', '::1', 5000],
    ['[2001:db8::5]:443', '2001:db8::5', 443],
    ['[2001:DB8::5]:443', '2001:db8::5', 443, '[2001:db8::5]:443'],
    ['[::ffff:10.0.0.1]:80', '::ffff:10.0.0.1', 80],
    ['localhost:80', 'localhost', 80],
    ['Detector.Example:5001', 'detector.example', 5001, 'detector.example:5001'],
    ['dtn_1.aps.example:5001', 'dtn_1.aps.example', 5001],
    ['a:1', 'a', 1],
    ['xn--dtektor-9wa.example:1', 'xn--dtektor-9wa.example', 1],
    [`${'a'.repeat(63)}.example:1`, `${'a'.repeat(63)}.example`, 1],
    ['3com.example:1', '3com.example', 1],
  ] as const) {
    const parsed = parseAddress(text);
    assert.equal(parsed, { host, port }, text);
    assert.is(formatAddress(parsed), written);
    assert.equal(parseAddress(written), parsed);
  }
});

s('rejects any other text and quotes it', () => {
  for (const text of [
    '',
    ':',
    ':5001',
    'host',
    'host:',
    'host:0',
    'host:65536',
    'host:99999',
    'host:-1',
    'host:+1',
    'host:1.0',
    'host:1e3',
    'host:0x50',
    'host:080',
    'host: 80',
    'host:80 ',
    ' host:80',
    'host:80\n',
    'host\n:80',
    'ho st:80',
    'host:80:80',
    'http://host:80',
    '1.2.3:80',
    '1.2.3.4.5:80',
    '256.1.1.1:80',
    '01.2.3.4:80',
    '1234:80',
    '::1:80',
    '[::1]',
    '[::1]80',
    '[]:80',
    '[host]:80',
    '[1.2.3.4]:80',
    '[::1%lo]:80',
    '[::1]]:80',
    '[:::1]:80',
    '-host:80',
    'host-:80',
    'a..b:80',
    '.a:80',
    'a.:80',
    'hö:80',
    '*:80',
    '{{x}}:80',
    '"a":80',
    "a';b:80",
    'a/b:80',
    'a\0b:80',
    `${'a'.repeat(64)}:80`,
    `${'a.'.repeat(127)}ab:80`,
    'a'.repeat(10_000),
  ]) {
    try {
      parseAddress(text, 'Target');
    } catch (error) {
      assert.ok(SciStreamError.is(error), text);
      assert.is(error.code, 'SCI_ADDRESS_INVALID', text);
      assert.match(error.message, /^Target "/);
      assert.not.match(error.message, /[\n\0]/);
      assert.ok(error.message.length < 300);
      assert.ok(error.suggestions.length > 0);
      continue;
    }
    assert.unreachable(`accepted ${JSON.stringify(text)}`);
  }
});

s('recognises host names and IP literals', () => {
  for (const host of ['::', '::1', '10.0.0.1', 'a', 'a.b', '_x', 'a'.repeat(63)]) assert.ok(isHost(host), host);
  for (const host of ['', '.', '1', '1.2', '10.0.0', 'fe80::1%eth0', '[::1]', 'a b', 'a'.repeat(64), 'a.'.repeat(130)])
    assert.not(isHost(host), host);
});

s('parses ports without sign, space or leading zero', () => {
  for (const [text, port] of Object.entries({ 1: 1, 80: 80, 65535: 65535 })) assert.is(parsePort(text), port);
  for (const text of ['', '0', '00', '01', '65536', '99999', '100000', '-1', '1.5', ' 1', '1 ', '1\n', '٣', 'http'])
    assert.is(parsePort(text), undefined, JSON.stringify(text));
});

s('recognises loopback hosts', () => {
  for (const host of ['127.0.0.1', '127.255.0.9', '::1', 'localhost']) assert.ok(isLoopback(host), host);
  for (const host of [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    '127.example',
    '127.0.0.1.example',
    'localhost.example',
  ])
    assert.not(isLoopback(host), host);
});

s.run();
