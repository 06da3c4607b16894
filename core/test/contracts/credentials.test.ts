/** Credentials of a stream, as control and data servers parse them. */
import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type StreamTls } from '@scistream/core';
import { makeCredentials } from '@scistream/core/client';
import { parseCredentials } from '@scistream/core/internal';

const s = suite('credentials');

const inAnHour = new Date(Date.now() + 3_600_000);
const { from, to } = makeCredentials(inAnHour);
const other = makeCredentials(inAnHour);

function rejection(wrong: Partial<StreamTls>, now?: Date): string {
  try {
    parseCredentials({ ...from, ...wrong }, now);
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    assert.is(error.code, 'SCI_CREDENTIALS_INVALID');
    const all = inspect(error, { depth: 9, showHidden: true });
    for (const line of (wrong.key ?? from.key).split('\n').filter((text) => text.length === 64)) {
      assert.not(all.includes(line), 'no error contains a key');
    }
    return error.message;
  }
  throw new Error('it was accepted');
}

s('matching credentials are accepted and serialized again', () => {
  assert.equal(parseCredentials(from), from);
  assert.equal(parseCredentials(to), to);
  const crlf = { ...to, key: `${to.key.trim().replaceAll('\n', '\r\n')}\n\n` };
  assert.equal(parseCredentials(crlf), to);
});

s('parts of other streams and roles are rejected', () => {
  assert.match(rejection({ key: to.key }), 'key does not match certificate');
  assert.match(rejection({ ca: other.from.ca }), 'not signed by ca');
  assert.match(rejection({ ca: from.certificate }), 'ca is not a CA certificate');
  assert.match(rejection({ certificate: other.from.certificate }), 'key does not match');
});

s('text around or inside a PEM block is rejected', () => {
  const injected = `${from.certificate}\nlisten 0.0.0.0:1\n`;
  assert.match(rejection({ certificate: injected }), 'not one PEM block');
  assert.match(rejection({ certificate: `# ${from.certificate}` }), 'not one PEM block');
  assert.match(rejection({ certificate: from.certificate + from.ca }), 'not one PEM block');
  assert.match(rejection({ certificate: '' }), 'not one PEM block');
  assert.match(rejection({ ca: from.ca.replace('\n', '\nProc-Type: 4,ENCRYPTED\n') }), 'not one PEM block');
  assert.match(rejection({ key: from.certificate }), 'not one PEM block');
  assert.match(rejection({ ca: from.ca.replace(/M/, 'N') }), 'ca is not a certificate');
  assert.match(rejection({ key: from.key.replace(/M/, 'N') }), 'key is not a private key');
  assert.match(rejection({ key: from.key + ' '.repeat(8192) }), 'longer than 8192');
});

s('a key of another algorithm is rejected', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  assert.match(
    rejection({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }),
    'key does not match',
  );
});

s('a peer that is not a DNS name is rejected', () => {
  for (const peer of ['', '127.0.0.1', 'a b', 'x\nverify none', '-a.b', 'a..b', `${'a'.repeat(64)}.b`, '"', '*.b']) {
    assert.match(rejection({ peer }), 'peer is not a DNS name');
  }
  assert.is(parseCredentials({ ...from, peer: 'gw-2.example.org' }).peer, 'gw-2.example.org');
});

s('credentials that are not valid now are rejected with the time of the machine', () => {
  assert.match(rejection({}, new Date(Date.now() - 3_600_000)), 'but the time of this machine is');
  assert.match(rejection({}, new Date(Date.now() + 9_000_000)), 'but the time of this machine is');
});

s.run();
