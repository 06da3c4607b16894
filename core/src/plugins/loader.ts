import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { isPluginDefinition, type ManifestEntry, type PluginDefinition } from '../contracts/plugin.js';
import { formatDuration } from '../contracts/units.js';
import { within } from '../contracts/wait.js';
import { readPlugin, type PluginPackage } from './manifest.js';
import { checkOptions } from './options.js';

const IMPORT_TIMEOUT_MS = 10_000;

/** Location of an installed plugin. */
export interface PluginSource {
  readonly name: string;
  readonly version: string;
  /** Its folder, absolute. */
  readonly root: string;
  /** `core`: shipped with SciStream; `user`: installed; `link`: a linked folder under development. */
  readonly type: 'core' | 'user' | 'link';
}

/** An installed plugin before any of its code runs: usable, or broken with the error. */
export type FoundPlugin = PluginSource &
  (
    | { readonly manifest: PluginPackage['manifest']; readonly error?: undefined }
    | { readonly manifest?: PluginPackage['manifest']; readonly error: SciStreamError }
  );

const key = ({ kind, id }: Pick<ManifestEntry, 'kind' | 'id'>): string => `${kind} ${id}`;

/**
 * Reads the manifests of installed plugins without running their code. Never throws: a broken plugin carries its error.
 * If two provide the same id, the first one wins: built-in providers, then plugins of SciStream, installed plugins,
 * linked plugins.
 * @param taken Built-in providers
 */
export async function findPlugins(
  sources: readonly PluginSource[],
  taken: readonly Pick<ManifestEntry, 'kind' | 'id'>[] = [],
): Promise<readonly FoundPlugin[]> {
  const order = ['core', 'user', 'link'];
  const sorted = [...sources].sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
  const read = await Promise.all(sorted.map(readSource));
  const known = new Map(taken.map((entry) => [key(entry), 'SciStream itself']));
  return read.map((plugin) => {
    if (plugin.error) return plugin;
    const clash = plugin.manifest.provides.find((entry) => known.has(key(entry)));
    if (clash) return { ...plugin, error: duplicate(plugin, clash, known.get(key(clash)) ?? '') };
    for (const entry of plugin.manifest.provides) known.set(key(entry), `${plugin.name} (${plugin.root})`);
    return plugin;
  });
}

async function readSource(source: PluginSource): Promise<FoundPlugin> {
  try {
    return { ...source, manifest: (await readPlugin(source.root)).manifest };
  } catch (error) {
    return { ...source, error: toSciStreamError(error) };
  }
}

function duplicate(plugin: PluginSource, { kind, id }: ManifestEntry, other: string): SciStreamError {
  const message = `${plugin.name} (${plugin.root}) provides ${kind} ${id}, but so does ${other}.`;
  return new SciStreamError('SCI_PLUGIN_DUPLICATE', message, {
    suggestions: [`scistream plugin uninstall ${plugin.name}`],
  });
}

/**
 * Runs the code of a plugin and checks its default export against the manifest.
 * @throws SCI_PLUGIN_LOAD_FAILED with the cause, SCI_PLUGIN_SHAPE
 */
export async function importPlugin({ name, root, manifest }: PluginPackage): Promise<PluginDefinition> {
  const module: unknown = await load(name, root);
  const definition: unknown =
    typeof module === 'object' && module !== null ? Reflect.get(module, 'default') : undefined;
  if (!isPluginDefinition(definition)) throw shape(name, 'its default export was not made with definePlugin');
  const promised = manifest.provides.map(key).sort().join(', ');
  const given = definition.providers.map(key).sort().join(', ');
  if (promised !== given)
    throw shape(name, `its manifest lists ${promised}, but its code provides ${given || 'nothing'}`);
  return definition;
}

async function load(name: string, root: string): Promise<unknown> {
  const failed = (why: string, cause?: unknown): SciStreamError =>
    new SciStreamError('SCI_PLUGIN_LOAD_FAILED', `Cannot load ${name}: ${why}.`, {
      cause,
      suggestions: [
        `scistream plugin inspect ${name}`,
        'Or install its package again: scistream plugin install PACKAGE',
      ],
    });
  try {
    const entry = createRequire(join(root, 'package.json')).resolve(name);
    const late = (): SciStreamError =>
      failed(`its code did not finish loading in ${formatDuration(IMPORT_TIMEOUT_MS)}`);
    return await within(import(pathToFileURL(entry).href) as Promise<unknown>, IMPORT_TIMEOUT_MS, late);
  } catch (error) {
    throw SciStreamError.is(error) ? error : failed(messageOf(error).split('\n')[0] ?? '', error);
  }
}

const shape = (name: string, why: string): SciStreamError =>
  new SciStreamError('SCI_PLUGIN_SHAPE', `Plugin ${name} is not usable: ${why}.`, {
    suggestions: [`Report this to the authors of ${name}.`],
  });

/**
 * Loads the code of a plugin and validates the example options of its manifest.
 * @returns what is wrong with the plugin; undefined if it is usable
 */
export async function checkPlugin(plugin: FoundPlugin): Promise<SciStreamError | undefined> {
  if (plugin.error) return plugin.error;
  try {
    const { providers } = await importPlugin(plugin);
    for (const { kind, id, example } of plugin.manifest.provides) {
      const provider = providers.find((candidate) => candidate.kind === kind && candidate.id === id);
      if (provider && example) await checkOptions<unknown>(provider.options, example, `the example of ${kind} ${id}`);
    }
    return undefined;
  } catch (error) {
    return toSciStreamError(error);
  }
}
