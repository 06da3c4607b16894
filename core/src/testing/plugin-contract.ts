import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ManifestEntry, PluginDefinition } from '../contracts/plugin.js';
import { importPlugin } from '../plugins/loader.js';
import { readPlugin } from '../plugins/manifest.js';
import type { TestFunction } from './report.js';

/** Parameters of {@link pluginContract}. */
export interface PluginContract {
  /** Prefix of the test names. */
  readonly name: string;
  /** Registers a test with any runner. Called while `pluginContract` runs. */
  readonly test: TestFunction;
  /** The default export of the package. */
  readonly plugin: PluginDefinition;
  /** URL of its package.json: `new URL('../package.json', import.meta.url)`, or `import.meta.resolve(…)`. */
  readonly packageJson: URL | string;
}

/** An option that no schema accepts. */
const UNKNOWN = 'no-option-of-any-plugin';

/**
 * Registers the tests that every plugin must pass. The code must provide what the manifest in package.json declares,
 * loaded as a daemon loads it. Each example of the manifest must be accepted. Unknown options must be rejected. No
 * program is started.
 */
export function pluginContract({ name, test, plugin, packageJson }: PluginContract): void {
  const read = (): ReturnType<typeof readPlugin> => readPlugin(dirname(fileURLToPath(packageJson)));

  test(`${name}: the code provides what the manifest declares`, async () => {
    const found = await read();
    assert.equal(await importPlugin(found), plugin, 'the package does not export the plugin under test');
    assert.equal(plugin.apiVersion, found.manifest.apiVersion);
  });

  test(`${name}: the examples of the manifest are accepted`, async () => {
    for (const entry of (await read()).manifest.provides) {
      if (entry.example)
        assert.deepEqual(await issuesOf(plugin, entry, entry.example), [], `${entry.id} rejects its example`);
    }
  });

  test(`${name}: unknown options are rejected`, async () => {
    for (const entry of (await read()).manifest.provides) {
      const issues = await issuesOf(plugin, entry, { ...entry.example, [UNKNOWN]: 1 });
      assert.notEqual(issues.length, 0, `${entry.id} accepts an unknown option`);
    }
  });
}

/** The validation errors of a provider for these options. */
async function issuesOf(plugin: PluginDefinition, { kind, id }: ManifestEntry, options: object): Promise<string[]> {
  const provider = plugin.providers.find((it) => it.kind === kind && it.id === id);
  assert.ok(provider, `the code provides no ${kind} ${id}`);
  const { issues = [] } = await provider.options['~standard'].validate(options);
  return issues.map(({ message }) => message);
}
