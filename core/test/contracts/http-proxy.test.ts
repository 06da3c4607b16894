import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { parseAddress } from '@scistream/core/config';
import { proxyFor } from '@scistream/core/internal';

const s = suite('HTTP proxy of the environment');

const HTTPS_PROXY = 'http://proxy.example:3128';
const proxied = (target: string, env: Record<string, string>): string | undefined =>
  proxyFor(parseAddress(target), { HTTPS_PROXY, ...env })?.url.host;

s('lower case has precedence, and a scheme is optional', () => {
  assert.is(proxied('gw.example:5000', {}), 'proxy.example:3128');
  assert.is(proxied('gw.example:5000', { https_proxy: 'other.example:80' }), 'other.example');
  assert.is(proxied('gw.example:5000', { HTTPS_PROXY: '' }), undefined);
});

const lists: readonly [list: string, target: string, direct: boolean][] = [
  ['*', 'gw.example:5000', true],
  ['gw.example', 'gw.example:5000', true],
  ['GW.Example', 'gw.example:5000', true],
  ['example', 'gw.example:5000', true],
  ['.example', 'gw.example:5000', true],
  ['*.example', 'gw.example:5000', true],
  ['ample', 'gw.example:5000', false],
  ['gw.example:5000', 'gw.example:5000', true],
  ['gw.example:443', 'gw.example:5000', false],
  ['a.example, gw.example', 'gw.example:5000', true],
  ['10.0.0.0/8', '10.1.2.3:5000', true],
  ['10.0.0.0/8', '11.1.2.3:5000', false],
  ['10.0.0.0/99', '10.1.2.3:5000', false],
  ['10.0.0.0/', '11.1.2.3:5000', false],
  ['10.0.0.0/8:5000', '10.1.2.3:5000', true],
  ['10.0.0.0/8:443', '10.1.2.3:5000', false],
  ['10.1.2.3:5000', '10.1.2.3:5000', true],
  ['10.1.2.3:443', '10.1.2.3:5000', false],
  ['[10.1.2.3]:5000', '10.1.2.3:5000', true],
  ['[10.1.2.3]:443', '10.1.2.3:5000', false],
  ['[2001:db8::7]:5000', '[2001:db8::7]:5000', true],
  ['[2001:db8::7]:443', '[2001:db8::7]:5000', false],
  ['[2001:db8::]/32:5000', '[2001:db8::7]:5000', true],
  ['2001:db8::7', '[2001:db8::7]:5000', true],
  ['*:5000', 'gw.example:5000', true],
  ['*:443', 'gw.example:5000', false],
  ['10.1.2.3', '10.1.2.3:5000', true],
  ['0.1.2.3', '10.1.2.3:5000', false],
  ['[2001:db8::7]', '[2001:db8::7]:5000', true],
  ['2001:db8::/32', '[2001:db8::7]:5000', true],
  ['', 'localhost:5000', true],
  ['', '127.0.0.1:5000', true],
  ['', '[::1]:5000', true],
];
for (const [list, target, direct] of lists) {
  s(`NO_PROXY=${list}: ${target} is ${direct ? 'direct' : 'proxied'}`, () => {
    assert.is(proxied(target, { NO_PROXY: list }) === undefined, direct);
    assert.is(proxied(target, { no_proxy: list }) === undefined, direct);
  });
}

s('anything but an HTTP proxy is rejected without its password', () => {
  const malformed = ['http://user:secret%zz@proxy.example', 'http://us%zzer:secret@proxy.example'];
  for (const text of ['socks5://user:secret@proxy.example:1080', 'http://user:secret@:x', 'http://', ...malformed]) {
    try {
      proxied('gw.example:5000', { HTTPS_PROXY: text });
      assert.unreachable(text);
    } catch (error) {
      assert.ok(SciStreamError.is(error), String(error));
      assert.is(error.code, 'SCI_USAGE');
      assert.not.match(error.message + error.suggestions.join(), /secret/);
    }
  }
});

s.run();
