/** Plugins as packages on the disk, whose parts come from the test. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { S2DS } from '@scistream/core';
import { findPlugins, type FoundPlugin } from '@scistream/core/internal';

const PARTS = 'scistreamTestParts';

/** Installs the package `odd-plugin` with the proxy `odd`. @param create Called by the plugin. */
export async function oddPlugin(directory: string, create: () => S2DS): Promise<readonly FoundPlugin[]> {
  Reflect.set(globalThis, PARTS, create);
  const root = join(directory, 'odd-plugin');
  await mkdir(root, { recursive: true });
  const provides = [{ kind: 'proxy', id: 'odd', summary: 'odd', runsIn: 'host' }];
  const content = { name: 'odd-plugin', version: '1.2.3', type: 'module', exports: './index.js' };
  await writeFile(join(root, 'package.json'), JSON.stringify({ ...content, scistream: { apiVersion: 1, provides } }));
  await writeFile(join(root, 'index.js'), CODE);
  return await findPlugins([{ name: 'odd-plugin', version: '1.2.3', root, type: 'user' }]);
}

const CODE = `
const options = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };
const providers = [{ kind: 'proxy', id: 'odd', options, create: () => globalThis.${PARTS}() }];
export default Object.defineProperty({ apiVersion: 1, providers }, Symbol.for('scistream.plugin'), { value: true });
`;

const supports = { tcp: true, udp: false, tls: true, rateLimit: false, liveRetarget: true, statistics: false };

/** A proxy that does nothing, and does it well. */
export const quietProxy = (change: Partial<S2DS> = {}): S2DS => ({
  supports,
  start: () => Promise.resolve(),
  updateTargets: () => Promise.resolve(),
  adopt: () => Promise.resolve(true),
  release: () => Promise.resolve(),
  status: () => Promise.resolve({ state: 'running', restarts: 0, listeners: [] }),
  ended: () => new Promise(() => undefined),
  ...change,
});

/** A promise, and the function that resolves it. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}
