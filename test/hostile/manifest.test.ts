/** Manifests of third-party plugins, which are read before any of their code runs. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { readPlugin } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { hostileValue, hunt, nearly, refusalOfAsync } from './hunt.js';

const s = hunt('manifests');

const directory = await temporaryDirectory();
s.after(() => directory.remove());
const root = join(directory.path, 'plugin');
await mkdir(root);

const provider = {
  kind: 'proxy',
  id: 'x',
  summary: 'a proxy',
  aliases: [{ name: 'X', runtime: 'process' }],
  program: { name: 'x', install: 'apt-get install x' },
  example: {},
};
const scistream = { apiVersion: 1, provides: [provider] };
const whole = { name: 'p', version: '1.0.0', scistream, peerDependencies: { '@scistream/core': '^0.1.0' } };

const plus = (object: object, key: string, value: unknown): string =>
  `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(key)}:${JSON.stringify(value) ?? 'null'}}`;
const at = (object: object): fc.Arbitrary<string> =>
  fc
    .tuple(fc.constantFrom(...Object.keys(object), '__proto__', 'constructor', 'more\n'), hostileValue)
    .map(([key, value]) => plus(object, key, value));

const manifests = fc.oneof(
  at(whole),
  at(scistream).map((text) => plus(whole, 'scistream', JSON.parse(text))),
  at(provider).map((text) => plus(whole, 'scistream', { ...scistream, provides: [JSON.parse(text)] })),
  nearly([JSON.stringify(whole)]),
);

s('manifest of a plugin', manifests, async (text) => {
  await writeFile(join(root, 'package.json'), text);
  const result = await refusalOfAsync(() => readPlugin(root));
  if ('code' in result) return assert.match(result.code, /^SCI_PLUGIN_/);
  for (const { id, kind } of result.value.manifest.provides) {
    assert.match(id, /^[a-z0-9][a-z0-9-]{0,30}$/);
    assert.ok(['proxy', 'runtime', 'authenticator'].includes(kind));
  }
});

s.run();
