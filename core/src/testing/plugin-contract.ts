import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ManifestEntry, PluginDefinition } from '../contracts/plugin.js';
import { importPlugin } from '../plugins/loader.js';
import { readPlugin } from '../plugins/manifest.js';
import type { TestFunction } from './report.js';

/** What {@link pluginContract} needs to know of a plugin and of the test runner. */
export interface PluginContract {
  /** Put before the name of each test. */
  readonly name: string;
  /** Registers a test with any runner. Called while `pluginContract` runs. */
  readonly test: TestFunction;
  /** The default export of the package. */
  readonly plugin: PluginDefinition;
  /** Address of its package.json: `new URL('../package.json', import.meta.url)`, or `import.meta.resolve(…)`. */
  readonly packageJson: URL | string;
}

/** No schema knows it. */
const UNKNOWN = 'no-option-of-any-plugin';

/**
 * Registers the tests that every plugin must pass, whatever it provides: what its package.json says is understood and is
 * what its code provides, with the code that loads plugins in a daemon; each example of the manifest is accepted, and an
 * option that does not exist is refused instead of overlooked. Starts nothing.
 */
export function pluginContract({ name, test, plugin, packageJson }: PluginContract): void {
  const read = (): ReturnType<typeof readPlugin> => readPlugin(dirname(fileURLToPath(packageJson)));

  test(`${name}: its code provides what its manifest promises`, async () => {
    const found = await read();
    assert.equal(await importPlugin(found), plugin, 'the package exports another plugin than the one under test');
    assert.equal(plugin.apiVersion, found.manifest.apiVersion);
  });

  test(`${name}: the examples of its manifest are accepted`, async () => {
    for (const entry of (await read()).manifest.provides) {
      if (entry.example) assert.deepEqual(await issuesOf(plugin, entry, entry.example), [], `${entry.id} refuses it`);
    }
  });

  test(`${name}: options that do not exist are refused`, async () => {
    for (const entry of (await read()).manifest.provides) {
      const issues = await issuesOf(plugin, entry, { ...entry.example, [UNKNOWN]: 1 });
      assert.notEqual(issues.length, 0, `${entry.id} accepts an option that does not exist`);
    }
  });
}

/** What a provider finds wrong with options, in its words. */
async function issuesOf(plugin: PluginDefinition, { kind, id }: ManifestEntry, options: object): Promise<string[]> {
  const provider = plugin.providers.find((it) => it.kind === kind && it.id === id);
  assert.ok(provider, `the code provides no ${kind} ${id}`);
  const { issues = [] } = await provider.options['~standard'].validate(options);
  return issues.map(({ message }) => message);
}
