/** What control and data servers accept as the credentials of a stream, and what becomes of it. */
import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type StreamTls } from '@scistream/core';
import { makeCredentials } from '@scistream/core/client';
import { parseCredentials } from '@scistream/core/internal';

const s = suite('credentials as they arrive');

const inAnHour = new Date(Date.now() + 3_600_000);
const { from, to } = makeCredentials(inAnHour);
const other = makeCredentials(inAnHour);

function refusal(wrong: Partial<StreamTls>, now?: Date): string {
  try {
    parseCredentials({ ...from, ...wrong }, now);
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    assert.is(error.code, 'SCI_CREDENTIALS_INVALID');
    const all = inspect(error, { depth: 9, showHidden: true });
    for (const line of (wrong.key ?? from.key).split('\n').filter((text) => text.length === 64)) {
      assert.not(all.includes(line), 'no error holds a key');
    }
    return error.message;
  }
  throw new Error('it was accepted');
}

s('what belongs together is accepted, and written anew', () => {
  assert.equal(parseCredentials(from), from);
  assert.equal(parseCredentials(to), to);
  const crlf = { ...to, key: `${to.key.trim().replaceAll('\n', '\r\n')}\n\n` };
  assert.equal(parseCredentials(crlf), to);
});

s('parts of other streams and roles are refused', () => {
  assert.match(refusal({ key: to.key }), 'key does not match certificate');
  assert.match(refusal({ ca: other.from.ca }), 'not signed by ca');
  assert.match(refusal({ ca: from.certificate }), 'ca is not a CA certificate');
  assert.match(refusal({ certificate: other.from.certificate }), 'key does not match');
});

s('anything around or inside a PEM block is refused', () => {
  const injected = `${from.certificate}\nlisten 0.0.0.0:1\n`;
  assert.match(refusal({ certificate: injected }), 'not one PEM block');
  assert.match(refusal({ certificate: `# ${from.certificate}` }), 'not one PEM block');
  assert.match(refusal({ certificate: from.certificate + from.ca }), 'not one PEM block');
  assert.match(refusal({ certificate: '' }), 'not one PEM block');
  assert.match(refusal({ ca: from.ca.replace('\n', '\nProc-Type: 4,ENCRYPTED\n') }), 'not one PEM block');
  assert.match(refusal({ key: from.certificate }), 'not one PEM block');
  assert.match(refusal({ ca: from.ca.replace(/M/, 'N') }), 'ca is not a certificate');
  assert.match(refusal({ key: from.key.replace(/M/, 'N') }), 'key is not a private key');
  assert.match(refusal({ key: from.key + ' '.repeat(8192) }), 'longer than 8192');
});

s('a key of another kind is refused', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  assert.match(refusal({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }), 'key does not match');
});

s('the name of the other side has to be a DNS name', () => {
  for (const peer of ['', '127.0.0.1', 'a b', 'x\nverify none', '-a.b', 'a..b', `${'a'.repeat(64)}.b`, '"', '*.b']) {
    assert.match(refusal({ peer }), 'peer is not a DNS name');
  }
  assert.is(parseCredentials({ ...from, peer: 'gw-2.example.org' }).peer, 'gw-2.example.org');
});

s('before and after their time they are refused, with the time of the gateway', () => {
  assert.match(refusal({}, new Date(Date.now() - 3_600_000)), 'but it is');
  assert.match(refusal({}, new Date(Date.now() + 9_000_000)), 'but it is');
});

s.run();
