import { nearest } from '../config/shape.js';
import type { Authenticator } from '../contracts/authenticator.js';
import type { ContainerRuntime } from '../contracts/container-runtime.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import type {
  Alias,
  AnyProvider,
  HostContext,
  ManifestEntry,
  OptionsSchema,
  Place,
  PluginContext,
  PluginDefinition,
  PluginVersion,
  ProviderKind,
} from '../contracts/plugin.js';
import type { S2DS } from '../contracts/s2ds.js';
import {
  AUTHENTICATOR_CALLS,
  callPlugin,
  makeGuarded,
  OPTIONS_CALL,
  RUNTIME_CALLS,
  S2DS_CALLS,
  type Author,
} from './guard.js';
import { releasingLateCalls } from './late-calls.js';
import { importPlugin, type FoundPlugin } from './loader.js';
import { checkOptions, type Options } from './options.js';

/** A provider that is built into SciStream. */
export interface BuiltIn {
  readonly provider: AnyProvider;
  readonly summary: string;
  readonly aliases?: readonly Alias[];
  readonly runsIn?: Place;
}

/** Available providers and their configuration. */
export interface ProvidersInit {
  readonly builtIns: readonly BuiltIn[];
  /** Plugins found by `findPlugins`. */
  readonly plugins: readonly FoundPlugin[];
  /** Keys of the configuration for plugins. */
  readonly config: {
    /** Unchecked options by id. */
    readonly proxies: Readonly<Record<string, Options>>;
    readonly runtimes: Readonly<Record<string, Options>>;
    /** Packages that must be installed. If not empty, no other plugins are offered. */
    readonly plugins: readonly string[];
  };
}

/** One line of `scistream proxies` and `scistream runtimes`. */
export interface Offer extends Pick<ManifestEntry, 'kind' | 'id' | 'summary' | 'aliases' | 'program' | 'runsIn'> {
  /** `built-in` or the name of the package. */
  readonly source: string;
  /** Version of the package. Absent for a built-in one. */
  readonly version?: string;
  /** The reason why it cannot be used. */
  readonly error?: SciStreamError;
}

/** A provider with checked options. */
export interface Ready<Context, Made> {
  readonly id: string;
  /** The option of this name, if it has a number: the limit of connections of each process of a proxy. */
  readonly maxConnections?: number;
  create(context: Context): Made;
}

/** The runtime in the records of proxies that run on the host. They do not use it. */
export const HOST_RUNTIME = 'process';

const UNKNOWN = {
  proxy: 'SCI_PROXY_UNKNOWN',
  runtime: 'SCI_RUNTIME_UNKNOWN',
  authenticator: 'SCI_PLUGIN_NOT_FOUND',
} as const;

/**
 * All proxies, runtimes and authenticators of this host by kind and id. The code of a plugin runs when one of its providers
 * is first used. A broken plugin fails only the calls that use it.
 */
export class Providers {
  readonly #plugins: readonly FoundPlugin[];
  readonly #imported = new Map<string, Promise<PluginDefinition>>();

  /** @throws SCI_PLUGIN_NOT_FOUND, or the error of a plugin listed in the key `plugins` of the configuration */
  constructor(private readonly init: ProvidersInit) {
    const wanted = init.config.plugins;
    for (const name of wanted) expectInstalled(name, init.plugins);
    this.#plugins = wanted.length > 0 ? init.plugins.filter(({ name }) => wanted.includes(name)) : init.plugins;
  }

  /** All providers, or those of one kind, built-in ones first. Includes those of broken plugins, with the error. */
  list(kind?: ProviderKind): readonly Offer[] {
    const builtIn = this.init.builtIns.map(({ provider: { kind: of, id }, summary, aliases, runsIn }): Offer => ({
      kind: of,
      id,
      summary,
      source: 'built-in',
      ...(aliases && { aliases }),
      ...(runsIn && { runsIn }),
    }));
    const others = this.#plugins.flatMap(({ name, version, manifest, error }) =>
      (manifest?.provides ?? []).map(({ kind: of, id, summary, aliases, program, runsIn }): Offer => ({
        kind: of,
        id,
        summary,
        source: name,
        version,
        ...(aliases && { aliases }),
        ...(program && { program }),
        ...(runsIn && { runsIn }),
        ...(error && { error }),
      })),
    );
    return [...builtIn, ...others].filter((offer) => kind === undefined || offer.kind === kind);
  }

  /**
   * Resolves the names of a proxy and a runtime to ids. An exact id means itself. Other names are compared with aliases
   * and then with ids, ignoring case: `haproxy` is the id, while `Haproxy` and `HAPROXY` are the alias. An alias with a
   * runtime overrides both runtimes. A proxy on the host has the runtime {@link HOST_RUNTIME}.
   * @param runtime Default of the gateway.
   * @param requested Runtime of the request. Empty: the default.
   * @throws SCI_PROXY_UNSUPPORTED if the request names a runtime for a proxy on the host; SCI_PROXY_UNKNOWN, SCI_RUNTIME_UNKNOWN with the available ids and how to install more; the error of a broken
   * plugin
   */
  resolve(proxy: string, runtime: string, requested = ''): { readonly proxy: string; readonly runtime: string } {
    const offers = this.list('proxy');
    const named = offers.flatMap(({ id, aliases = [] }) => aliases.map((alias) => ({ ...alias, id })));
    const alias = offers.some(({ id }) => id === proxy)
      ? undefined
      : named.find(({ name }) => name.toLowerCase() === proxy.toLowerCase());
    const { id, runsIn } = this.#find('proxy', alias?.id ?? proxy);
    if (runsIn === 'host') return { proxy: id, runtime: hostRuntime(id, requested) };
    if (alias?.runtime === undefined) return { proxy: id, runtime: this.#find('runtime', requested || runtime).id };
    const plain = `${quote(proxy)} means proxy ${id} in runtime ${alias.runtime}. Use ${id} to run it in another runtime.`;
    return { proxy: id, runtime: this.#find('runtime', alias.runtime, [plain]).id };
  }

  /** The packages of a proxy and a runtime, without built-in ones, and where the proxy runs. @throws as {@link resolve} */
  packages(names: { readonly proxy: string; readonly runtime: string }): {
    readonly plugins: readonly PluginVersion[];
    readonly place: Place;
  } {
    const proxy = this.#find('proxy', names.proxy);
    const sources = [proxy, this.#find('runtime', names.runtime)].flatMap(({ source, version }) =>
      version === undefined ? [] : [[source, version] as const],
    );
    const plugins = [...new Map(sources)].map(([name, version]) => ({ name, version }));
    return { plugins, place: proxy.runsIn ?? 'runtime' };
  }

  /** The proxy with the options of `proxies.<id>`. @throws as {@link resolve}, SCI_PLUGIN_OPTIONS_INVALID, SCI_PLUGIN_* */
  async proxy(id: string): Promise<Ready<PluginContext, S2DS>> {
    const { provider, author } = await this.#provider('proxy', id);
    if (provider.kind !== 'proxy') throw this.#unknown('proxy', id);
    const given = this.init.config.proxies[provider.id] ?? {};
    const options = await parsed(author, provider.options, given, `proxies.${provider.id}`);
    const create = (context: PluginContext): S2DS =>
      makeGuarded(
        author,
        S2DS_CALLS,
        () => provider.create(context, options),
        (made) => releasingLateCalls(made, author),
      );
    return { id: provider.id, ...limitOf(options), create };
  }

  /** The runtime with the options of `runtimes.<id>`. @throws as {@link proxy} */
  async runtime(id: string): Promise<Ready<HostContext, ContainerRuntime>> {
    const { provider, author } = await this.#provider('runtime', id);
    if (provider.kind !== 'runtime') throw this.#unknown('runtime', id);
    const given = this.init.config.runtimes[provider.id] ?? {};
    const options = await parsed(author, provider.options, given, `runtimes.${provider.id}`);
    const create = (context: HostContext): ContainerRuntime =>
      makeGuarded(author, RUNTIME_CALLS, () => provider.create(context, options));
    return { id: provider.id, create };
  }

  /**
   * The authenticator with the options of its entry in `auth`, without `use`.
   * @param where Path of the entry, for errors: `auth.0`
   * @throws SCI_PLUGIN_NOT_FOUND, SCI_PLUGIN_OPTIONS_INVALID, SCI_PLUGIN_*
   */
  async authenticator(id: string, raw: Options, where: string): Promise<Ready<HostContext, Authenticator>> {
    const { provider, author } = await this.#provider('authenticator', id);
    if (provider.kind !== 'authenticator') throw this.#unknown('authenticator', id);
    const options = await parsed(author, provider.options, raw, where);
    const create = (context: HostContext): Authenticator =>
      makeGuarded(author, AUTHENTICATOR_CALLS, () => provider.create(context, options));
    return { id: provider.id, create };
  }

  async #provider(
    kind: ProviderKind,
    name: string,
  ): Promise<{ readonly provider: AnyProvider; readonly author: Author }> {
    const { id, source } = this.#find(kind, name);
    const author = { kind, id, source };
    const isIt = (provider: AnyProvider): boolean => provider.kind === kind && provider.id === id;
    const builtIn = this.init.builtIns.find(({ provider }) => isIt(provider));
    if (builtIn) return { provider: builtIn.provider, author };
    const plugin = this.#plugins.find((candidate) => candidate.name === source && !candidate.error);
    const definition = plugin && !plugin.error ? await this.#import(plugin) : undefined;
    const provider = definition?.providers.find(isIt);
    if (!provider) throw this.#unknown(kind, name);
    return { provider, author };
  }

  #import(plugin: FoundPlugin & { readonly error?: undefined }): Promise<PluginDefinition> {
    const known = this.#imported.get(plugin.name) ?? importPlugin(plugin);
    this.#imported.set(plugin.name, known);
    return known;
  }

  /** @param hints Additional first suggestions of an error */
  #find(kind: ProviderKind, name: string, hints: readonly string[] = []): Offer {
    const fits = this.list(kind).filter(({ id }) => id === name.toLowerCase());
    const found = fits.find(({ error }) => error === undefined) ?? fits[0];
    if (!found) throw this.#unknown(kind, name, hints);
    if (found.error) throw found.error;
    return found;
  }

  #unknown(kind: ProviderKind, name: string, hints: readonly string[] = []): SciStreamError {
    const ids = this.list(kind).flatMap(({ id, error }) => (error ? [] : [id]));
    const meant = nearest(name, ids);
    const elsewhere = this.init.plugins.find(({ manifest }) =>
      manifest?.provides.some((entry) => entry.kind === kind && entry.id === name),
    );
    return new SciStreamError(
      UNKNOWN[kind],
      `Unknown ${kind} ${quote(name)}${meant ? `, did you mean ${meant}?` : '.'}`,
      {
        suggestions: [
          ...hints,
          `Use one of: ${ids.join(', ') || 'none available'}.`,
          elsewhere
            ? `Add ${elsewhere.name} to the key plugins in the configuration of the control server.`
            : 'Or install a package that provides it: scistream plugin install PACKAGE',
        ],
      },
    );
  }
}

/** @throws SCI_PROXY_UNSUPPORTED if the request names another runtime */
function hostRuntime(proxy: string, requested: string): string {
  if (requested === '' || requested === HOST_RUNTIME) return HOST_RUNTIME;
  const message = `Proxy ${proxy} runs on the host of the gateway, and not in runtime ${quote(requested)}.`;
  throw new SciStreamError('SCI_PROXY_UNSUPPORTED', message, { suggestions: ['Omit the runtime from the request.'] });
}

/** The schema is code of the plugin, too. */
const parsed = async (author: Author, schema: OptionsSchema<unknown>, raw: Options, where: string): Promise<unknown> =>
  await callPlugin(author, 'options', OPTIONS_CALL, [], async () => await checkOptions(schema, raw, where));

function limitOf(options: unknown): Pick<Ready<never, never>, 'maxConnections'> {
  const limit = (options as { readonly maxConnections?: unknown } | undefined)?.maxConnections;
  return typeof limit === 'number' ? { maxConnections: limit } : {};
}

function expectInstalled(name: string, installed: readonly FoundPlugin[]): void {
  const fits = installed.filter((plugin) => plugin.name === name);
  if (fits.some(({ error }) => error === undefined)) return;
  if (fits[0]?.error) throw fits[0].error;
  throw new SciStreamError(
    'SCI_PLUGIN_NOT_FOUND',
    `Plugin ${quote(name)}, listed in the configuration, is not installed.`,
    {
      suggestions: ['Install its package: scistream plugin install PACKAGE', 'scistream plugin ls'],
    },
  );
}
