import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createRenderer } from '@scistream/core';
import { pluginContract, testView } from '@scistream/core/testing';
import plugin, { HaproxyOptions } from '@scistream/plugin-haproxy';
import { renderConfig, renderFiles } from '@scistream/plugin-haproxy/internal';
import { templateDirectory } from '@scistream/templates';

const packageFile = (name: string): Promise<string> =>
  readFile(new URL(name, import.meta.resolve('@scistream/plugin-haproxy/package.json')), 'utf8');

const renderer = createRenderer([templateDirectory('haproxy')]);
const options = HaproxyOptions.parse({});

const view = testView();

const s = suite('render');

s('inherited sockets without targets', async () => {
  assert.fixture(
    renderConfig(renderer, view, options, 'runtime-socket'),
    await packageFile('test/golden/inherited-no-targets.cfg'),
  );
});

s('own sockets, IPv4 and IPv6 targets', async () => {
  const listeners = ['192.0.2.10', '2001:db8::10'].map((host, i) => ({ address: { host, port: 5100 + i } }));
  const targets = [
    { host: '2001:db8:1::5', port: 7000 },
    { host: '198.51.100.7', port: 7001 },
  ];
  const text = renderConfig(renderer, { ...view, role: 'outbound', listeners, targets }, options, 'runtime-socket');
  assert.fixture(text, await packageFile('test/golden/bound-with-targets.cfg'));
});

const tls = { certificate: 'CERT\n', key: 'KEY\n', ca: 'CA\n', peer: 'cons.6f1c2a3e.scistream' };
const everywhere = [{ address: { host: '0.0.0.0', port: 5100 } }];

s('polls by select with few connections, and by epoll otherwise', () => {
  const text = (given: object): string => renderConfig(renderer, view, HaproxyOptions.parse(given), 'runtime-socket');
  assert.match(text({}), /nbthread 1\n[^]*noepoll/);
  assert.not.match(text({ maxConnections: 500 }), 'noepoll');
});

s('a TLS server on inherited sockets', async () => {
  const text = renderConfig(
    renderer,
    { ...view, listeners: view.listeners.slice(0, 1), tls },
    options,
    'runtime-socket',
  );
  assert.fixture(text, await packageFile('test/golden/tls-server.cfg'));
});

s('a local address, for the addresses of its family', () => {
  const targets = [
    { host: '2001:db8:1::5', port: 7000, fallbacks: ['198.51.100.9'] },
    { host: '198.51.100.7', port: 7001 },
  ];
  const render = (mode: 'runtime-socket' | 'master-worker'): string =>
    renderConfig(renderer, { ...view, targets, localAddress: '192.0.2.10' }, options, mode);
  const servers = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('  server '));
  assert.equal(servers(render('runtime-socket')), [
    '  server s0 [2001:db8:1::5]:7000 backup weight 256 source 192.0.2.10 disabled',
    '  server u0 [2001:db8:1::5]:7000 backup weight 256',
    '  server s0-1 198.51.100.9:7000 backup weight 1 source 192.0.2.10',
    '  server s1 198.51.100.7:7001 backup weight 256 source 192.0.2.10',
    '  server u1 198.51.100.7:7001 backup weight 256 disabled',
  ]);
  assert.equal(servers(render('master-worker')), [
    '  server u0 [2001:db8:1::5]:7000 backup weight 256',
    '  server s0-1 198.51.100.9:7000 backup weight 1 source 192.0.2.10',
    '  server s1 198.51.100.7:7001 backup weight 256 source 192.0.2.10',
  ]);
});

s('a TLS client', async () => {
  const targets = [{ host: '198.51.100.7', port: 5100 }];
  const client = {
    ...view,
    role: 'outbound',
    listeners: everywhere,
    targets,
    tls: { ...tls, peer: 'prod.x' },
  } as const;
  assert.fixture(
    renderConfig(renderer, client, options, 'runtime-socket'),
    await packageFile('test/golden/tls-client.cfg'),
  );
});

s('master-worker mode without and with targets', async () => {
  const before = renderConfig(renderer, { ...view, listeners: everywhere, tls }, options, 'master-worker');
  assert.fixture(before, await packageFile('test/golden/master-no-targets.cfg'));
  const targets = [{ host: '198.51.100.7', port: 7000 }];
  const after = renderConfig(renderer, { ...view, listeners: everywhere, targets }, options, 'master-worker');
  assert.fixture(after, await packageFile('test/golden/master-with-targets.cfg'));
});

s('credentials are only in their own files', () => {
  const {
    'tls.pem': own,
    'ca.pem': ca,
    ...others
  } = renderFiles(renderer, { ...view, tls }, options, 'runtime-socket');
  assert.is(own, 'CERT\nKEY\n');
  assert.is(ca, 'CA\n');
  assert.not.match(Object.values(others).join(), /CERT|KEY/);
  assert.equal(Object.keys(renderFiles(renderer, view, options, 'runtime-socket')), Object.keys(others));
});

pluginContract({
  name: 'haproxy',
  test: (name, run) => void s(name, run),
  plugin,
  packageJson: import.meta.resolve('@scistream/plugin-haproxy/package.json'),
});

s('invalid options are rejected', () => {
  assert.not.ok(HaproxyOptions.safeParse({ process: 2 }).success);
  assert.not.ok(HaproxyOptions.safeParse({ maxConnections: 0 }).success);
});

s.run();
