import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Home } from './cli.js';

/** Code of a plugin with one proxy, which does nothing. @param create Body of its `create` */
export function pluginCode(id: string, create = 'return s2ds'): string {
  return `const done = async () => undefined;
    const supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };
    const s2ds = { supports, start: done, updateTargets: done, adopt: done, release: done, status: done, ended: done };
    const options = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };
    const providers = [{ kind: 'proxy', id: ${JSON.stringify(id)}, options, create: () => { ${create} } }];
    const definition = { apiVersion: 1, providers };
    export default Object.defineProperty(definition, Symbol.for('scistream.plugin'), { value: true });\n`;
}

/** The key `scistream` of the package.json of a plugin with one proxy. */
export const provides = (id: string): object => ({
  apiVersion: 1,
  provides: [{ kind: 'proxy', id, summary: 'made for a test' }],
});

/** Links plugins into the home, as under development, without any check. @param plugins Their code by name and id */
export async function linkPlugins(home: Home, plugins: Readonly<Record<string, string>>): Promise<void> {
  const links = Object.keys(plugins).map((name) => ({ name, type: 'link', root: join(home.path, name) }));
  for (const { name, root } of links) {
    await mkdir(root);
    const content = { name, version: '1.0.0', type: 'module', exports: './index.js', oclif: {} };
    await writeFile(join(root, 'package.json'), JSON.stringify({ ...content, scistream: provides(name) }));
    await writeFile(join(root, 'index.js'), plugins[name] ?? '');
  }
  const list = JSON.stringify({ private: true, oclif: { schema: 1, plugins: links } });
  await mkdir(home.data, { recursive: true, mode: 0o700 });
  await writeFile(join(home.data, 'package.json'), list);
  const digest = createHash('sha256').update(list).update('\n').digest('hex');
  await writeFile(join(home.data, 'integrity'), `sha256:${digest}\n`);
}
