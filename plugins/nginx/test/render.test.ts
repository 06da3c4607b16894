import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createRenderer, S2DSException, type ProxyView } from '@scistream/core';
import { pluginContract, testView } from '@scistream/core/testing';
import plugin, { NginxOptions } from '@scistream/plugin-nginx';
import { renderConfig } from '@scistream/plugin-nginx/internal';
import { templateDirectory } from '@scistream/templates';

const packageFile = (name: string): Promise<string> =>
  readFile(new URL(name, import.meta.resolve('@scistream/plugin-nginx/package.json')), 'utf8');

const renderer = createRenderer([templateDirectory('nginx')]);
const options = NginxOptions.parse({ workers: 2, module: '/usr/lib/nginx/modules/ngx_stream_module.so' });
const PROCESS = { inheritSockets: true, dial: true, images: false, hostNetwork: true };
const IMAGES = { inheritSockets: false, dial: false, images: true, hostNetwork: false };

const view = testView();
const targets = [
  { host: '2001:db8:1::5', port: 7000 },
  { host: '198.51.100.7', port: 7001 },
];
const tls = { certificate: 'CERTIFICATE', key: 'KEY', ca: 'CA', peer: 'peer.example' };

const s = suite('render');

const golden = (name: string, stream: ProxyView, runtime = PROCESS, chosen = options): void =>
  s(name, async () => {
    assert.fixture(renderConfig(renderer, stream, chosen, runtime), await packageFile(`test/golden/${name}.conf`));
  });

golden('no-targets', view);
golden('targets-image', { ...view, role: 'outbound', targets }, IMAGES, NginxOptions.parse({ workers: 2 }));
golden('udp', {
  ...view,
  transport: 'udp',
  listeners: [{ address: { host: '2001:db8::10', port: 5100 } }],
  targets: targets.slice(0, 1),
});
golden('tls-server', { ...view, targets, tls, localAddress: '192.0.2.10' });
const several = targets.map((target) => ({ ...target, fallbacks: ['198.51.100.9', '2001:db8:1::9'] }));
golden('several-addresses', { ...view, targets: several, tls, localAddress: '192.0.2.10' });
golden('tls-client', { ...view, role: 'outbound', targets, tls });

s('the name of a peer cannot inject directives', () => {
  const render = (peer: string): string => renderConfig(renderer, { ...view, tls: { ...tls, peer } }, options, PROCESS);
  for (const peer of ['a;load_module /x.so', 'a b', '', '$pid']) {
    assert.throws(
      () => render(peer),
      (error: unknown) => S2DSException.is(error),
    );
  }
});

pluginContract({
  name: 'nginx',
  test: (name, run) => void s(name, run),
  plugin,
  packageJson: import.meta.resolve('@scistream/plugin-nginx/package.json'),
});

s('invalid options and options that could inject directives are rejected', () => {
  const wrong = [
    { workers: 0 },
    { worker_processes: 2 },
    { maxConnections: 0 },
    { udpTimeout: '0s' },
    { udpTimeout: '2m; daemon on' },
    { module: 'ngx_stream_module.so' },
    { module: '/a.so; user root' },
  ];
  for (const value of wrong) assert.not.ok(NginxOptions.safeParse(value).success, JSON.stringify(value));
});

s.run();
