import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createRenderer, type OptionsSchema, type StreamView } from '@scistream/core';
import plugin, { HaproxyOptions, renderConfig } from '@scistream/plugin-haproxy';
import { templateDirectory } from '@scistream/templates';

const packageFile = (name: string): Promise<string> =>
  readFile(new URL(name, import.meta.resolve('@scistream/plugin-haproxy/package.json')), 'utf8');

const renderer = createRenderer([templateDirectory('haproxy')]);
const options = HaproxyOptions.parse({ threads: 2 });

const view: StreamView = {
  uid: '6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10',
  role: 'PROD',
  transport: 'tcp',
  listeners: [
    { address: { host: '192.0.2.10', port: 5100 }, fd: 3 },
    { address: { host: '192.0.2.10', port: 5101 }, fd: 4 },
  ],
  targets: [],
  bitsPerSecond: undefined,
};

const s = suite('render');

s('inherited sockets, targets not known yet', async () => {
  assert.fixture(renderConfig(renderer, view, options), await packageFile('test/golden/inherited-no-targets.cfg'));
});

s('own sockets, IPv4 and IPv6 targets', async () => {
  const listeners = ['192.0.2.10', '2001:db8::10'].map((host, i) => ({ address: { host, port: 5100 + i } }));
  const targets = [
    { host: '2001:db8:1::5', port: 7000 },
    { host: '198.51.100.7', port: 7001 },
  ];
  const text = renderConfig(renderer, { ...view, role: 'CONS', listeners, targets }, options);
  assert.fixture(text, await packageFile('test/golden/bound-with-targets.cfg'));
});

s('the example of the manifest is accepted, and the manifest promises what the plugin provides', async () => {
  const { scistream } = JSON.parse(await packageFile('package.json')) as {
    scistream: { apiVersion: number; provides: { kind: string; id: string; example: unknown }[] };
  };
  assert.is(scistream.apiVersion, plugin.apiVersion);
  assert.equal(
    scistream.provides.map(({ kind, id }) => ({ kind, id })),
    plugin.providers.map(({ kind, id }) => ({ kind, id })),
  );
  for (const [i, { example }] of scistream.provides.entries()) {
    const schema = plugin.providers[i]?.options as OptionsSchema<unknown>;
    const result = await schema['~standard'].validate(example);
    assert.is(result.issues, undefined);
  }
});

s('an option that does not exist is refused', () => {
  assert.not.ok(HaproxyOptions.safeParse({ thread: 2 }).success);
  assert.not.ok(HaproxyOptions.safeParse({ maxConnections: 0 }).success);
});

s.run();
