import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createRenderer, SciStreamError, type ProxyView } from '@scistream/core';
import { pluginContract, temporaryDirectory, testView } from '@scistream/core/testing';
import plugin, { StunnelOptions } from '@scistream/plugin-stunnel';
import { configState, preSharedKey, renderConfig } from '@scistream/plugin-stunnel/internal';
import { templateDirectory } from '@scistream/templates';

const packageFile = (name: string): Promise<string> =>
  readFile(new URL(name, import.meta.resolve('@scistream/plugin-stunnel/package.json')), 'utf8');

const renderer = createRenderer([templateDirectory('stunnel')]);

const options = StunnelOptions.parse({});

const view = testView();
const targets = [
  { host: '2001:db8:1::5', port: 7000 },
  { host: '198.51.100.7', port: 7001 },
];
const tls = { certificate: 'C', key: 'K', ca: 'A', peer: 'peer.test' };

const s = suite('render');

s('server side with certificates and without targets', async () => {
  assert.fixture(
    renderConfig(renderer, { ...view, tls }, options),
    await packageFile('test/golden/prod-no-targets.conf'),
  );
});

s('client side with certificates, IPv4 and IPv6', async () => {
  const text = renderConfig(renderer, { ...view, role: 'outbound', targets, tls, localAddress: '192.0.2.10' }, options);
  assert.fixture(text, await packageFile('test/golden/cons-with-targets.conf'));
});

s('the addresses of a target that have the same local address', () => {
  const target = { host: '198.51.100.7', port: 7001, fallbacks: ['2001:db8:1::5', '198.51.100.8'] };
  const render = (more: Partial<ProxyView>): string[] =>
    renderConfig(renderer, { ...view, role: 'outbound', targets: [target, target], tls, ...more }, options)
      .split('\n')
      .filter((line) => /^(connect|failover|local) /.test(line))
      .slice(0, 4);
  const lines = ['connect = 198.51.100.7:7001', 'connect = 2001:db8:1::5:7001', 'connect = 198.51.100.8:7001'];
  assert.equal(render({}), [...lines, 'failover = prio']);
  const local = ['connect = 198.51.100.7:7001', 'connect = 198.51.100.8:7001', 'failover = prio', 'local = 192.0.2.10'];
  assert.equal(render({ localAddress: '192.0.2.10' }), local);
});

s('shared key', async () => {
  const psk = { identity: 'site-a', compatibility: false };
  const text = renderConfig(renderer, { ...view, role: 'outbound', targets }, options, psk);
  assert.fixture(text, await packageFile('test/golden/cons-shared-key.conf'));
});

s('tunnel of the Python program', async () => {
  const psk = { identity: 'client1', compatibility: true };
  const text = renderConfig(renderer, { ...view, targets }, options, psk);
  assert.fixture(text, await packageFile('test/golden/prod-compatibility.conf'));
});

s('certificates take precedence over a pre-shared key', () => {
  const psk = { identity: 'client1', compatibility: true };
  const withTls = { ...view, targets, tls };
  assert.is(renderConfig(renderer, withTls, options, psk), renderConfig(renderer, withTls, options));
});

s('the key of the Python program is the uid without dashes', () => {
  assert.equal(preSharedKey({ compatibility: true }, view.uid), {
    identity: 'client1',
    line: 'client1:6f1c2a3e0b574c7e9d6b2f1f0e7a9b10\n',
  });
});

s('only the configured key line of the operators is used', async () => {
  await using scratch = await temporaryDirectory();
  const secrets = join(scratch.path, 'secrets');
  await writeFile(secrets, 'site-ab:KEY-OF-AB-0123456789\r\nsite-a:KEY-OF-A-0123456789\n', { mode: 0o600 });
  assert.is(preSharedKey({ secrets, identity: 'site-a' }, view.uid).line, 'site-a:KEY-OF-A-0123456789\n');

  const refusal = (identity: string): SciStreamError => {
    try {
      preSharedKey({ secrets, identity }, view.uid);
    } catch (error) {
      if (SciStreamError.is(error)) return error;
      throw error;
    }
    throw new Error('the keys were accepted');
  };
  const unknown = refusal('site');
  assert.is(unknown.code, 'SCI_PLUGIN_OPTIONS_INVALID');
  await chmod(secrets, 0o640);
  const readable = refusal('site-a');
  assert.is(readable.code, 'SCI_PLUGIN_OPTIONS_INVALID');
  assert.match(readable.suggestions.join(), 'chmod go=');
  await scratch.remove();
  const missing = refusal('site-a');
  assert.is(missing.code, 'SCI_PLUGIN_OPTIONS_INVALID');
  for (const error of [unknown, readable, missing]) assert.not.match(JSON.stringify(error), 'KEY-OF');
});

const READ = '2026.11.22 20:09:00 LOG5[ui]: Reading configuration from file /x/stunnel.conf';
const GOOD = '2026.11.22 20:09:00 LOG5[ui]: Configuration successful';
const bound = (name: string): string => `2026.11.22 20:09:00 LOG6[ui]: Service [${name}] (FD=3) bound to ::1:47001`;

s('the log shows the active targets', () => {
  const state = (...lines: string[]): string => configState(lines.join('\n'), ['s0 to a', 's1 to b']).state;
  assert.is(state(), 'reading');
  assert.is(state(READ, GOOD, bound('s0 to a')), 'reading');
  assert.is(state(READ, GOOD, bound('s0 to a'), bound('s1 to b')), 'active');
  assert.is(state(GOOD, bound('s0 to a'), bound('s1 to b')), 'active', 'without the beginning of the log');
  assert.is(state(READ, GOOD, bound('s0 to a'), bound('s1 to b'), READ), 'reading');
  assert.is(state(READ, GOOD, bound('s0 to a'), bound('s1 to b'), READ, GOOD, bound('s0 to a')), 'reading');
  // The subjects of certificates are chosen by the peers.
  const stranger = (words: string): string => `2026.11.22 20:09:00 LOG4[7]: Rejected by CERT at depth=0: CN=${words}`;
  assert.is(state(READ, GOOD, bound('s0 to a'), bound('s1 to b'), stranger(READ)), 'active');
  assert.is(state(READ, GOOD, bound('s0 to a'), bound('s1 to b'), stranger(GOOD)), 'active');
  assert.is(state(READ, GOOD, bound('s0 to a'), stranger(bound('s1 to b'))), 'reading');
  assert.is(state(READ, stranger('x LOG3[ui]: Configuration failed'), GOOD), 'reading');
  assert.equal(
    configState(
      [READ, 'x LOG3[ui]: stunnel.conf:3: "frob": no', 'x LOG3[ui]: Configuration failed', 'x LOG3[7]: y'].join('\n'),
      [],
    ),
    { state: 'refused', why: 'stunnel.conf:3: "frob": no; Configuration failed' },
  );
});

pluginContract({
  name: 'stunnel',
  test: (name, run) => void s(name, run),
  plugin,
  packageJson: import.meta.resolve('@scistream/plugin-stunnel/package.json'),
});

s('invalid options are rejected', () => {
  const refuses = (options: object): void => assert.not.ok(StunnelOptions.safeParse(options).success);
  refuses({ thread: 2 });
  refuses({ maxConnections: 0 });
  refuses({ psk: {} });
  refuses({ psk: { compatibility: false } });
  refuses({ psk: { secrets: '/x', identity: 'a:b' } });
  refuses({ psk: { secrets: '/x', identity: 'a', compatibility: true } });
});

s.run();
