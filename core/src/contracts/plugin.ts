import type { Authenticator } from './authenticator.js';
import type { ContainerRuntime } from './container-runtime.js';
import type { Logger } from './logger.js';
import type { S2DS } from './s2ds.js';

/** Version of the plugin interface that this core speaks. Raised when a plugin must change to go on working. */
export const PLUGIN_API_VERSION = 1;

/** The kinds of things that a plugin can provide. */
export type ProviderKind = 'proxy' | 'runtime' | 'authenticator';

/** Another name for a proxy. */
export interface Alias {
  readonly name: string;
  /** The runtime that the name implies; it then overrules the one asked for. */
  readonly runtime?: string;
}

/** One thing a plugin provides, as its package.json says, readable without running any of its code. */
export interface ManifestEntry {
  readonly kind: ProviderKind;
  /** The name people type: `--proxy haproxy`. */
  readonly id: string;
  /** One line for lists. */
  readonly summary: string;
  /** Other names for it, in any letter case; those of the Python program mean a proxy together with a runtime. */
  readonly aliases?: readonly Alias[];
  /** What a proxy needs installed on the gateway, in runtimes without images, and the command that installs it. */
  readonly program?: { readonly name: string; readonly install: string };
  /** Options that work, an executable example of the configuration. */
  readonly example?: Readonly<Record<string, unknown>>;
}

/** The key `scistream` of a plugin's package.json. */
export interface PluginManifest {
  readonly apiVersion: number;
  readonly provides: readonly ManifestEntry[];
}

/** The parts of Standard Schema v1 (https://standardschema.dev) that are used; zod, valibot and arktype have them. */
export interface OptionsSchema<Options> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Options> | Promise<SchemaResult<Options>>;
    readonly types?: { readonly input: unknown; readonly output: Options } | undefined;
  };
}

/** What validation gives: the checked value, or what is wrong. */
export type SchemaResult<Options> =
  | { readonly value: Options; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] };

/** All a plugin gets from its host. It lives as long as the host does. */
export interface HostContext {
  /** Adds the plugin's name to every line. */
  readonly log: Logger;
  /** A directory of this provider alone, 0700; it survives the process. */
  readonly dataDir: string;
  /** Aborts when the host stops. */
  readonly signal: AbortSignal;
  readonly host: { readonly version: string; readonly apiVersion: number };
  /** Calls `close` when the host stops, in reverse order of registration. */
  onClose(close: () => Promise<void>): void;
}

/** What a proxy gets: besides all else the runtime it has to run in. */
export interface PluginContext extends HostContext {
  readonly runtime: ContainerRuntime;
  /** Name of the gateway and of the data server that owns its instances, for labels. */
  readonly gateway: string;
  readonly owner: string;
  /** To be told of every proxy that ended by itself and was started again; `ProxyContainer` does. */
  readonly onRestart?: (uid: string, reason: string) => void;
}

interface Provider<Kind extends ProviderKind, Context, Made, Options> {
  readonly kind: Kind;
  readonly id: string;
  /** Checks `proxies.<id>` (or `runtimes.<id>`, `auth`) of the configuration before `create` sees it. */
  readonly options: OptionsSchema<Options>;
  /** Called at most once per gateway and runtime. Does no work that can fail: that is for `start`. */
  create(context: Context, options: Options): Made;
}

/** Makes data servers that run a proxy. */
export type ProxyProvider<Options = unknown> = Provider<'proxy', PluginContext, S2DS, Options>;
/** Makes runtimes. */
export type RuntimeProvider<Options = unknown> = Provider<'runtime', HostContext, ContainerRuntime, Options>;
/** Makes authenticators. */
export type AuthenticatorProvider<Options = unknown> = Provider<'authenticator', HostContext, Authenticator, Options>;
/** A provider of whatever kind. */
export type AnyProvider = ProxyProvider | RuntimeProvider | AuthenticatorProvider;

/** The default export of a plugin. */
export interface PluginDefinition {
  readonly apiVersion: number;
  readonly providers: readonly AnyProvider[];
}

const brand = Symbol.for('scistream.plugin');

/** Ties the options of a provider to its schema and forgets their type, so that providers of all kinds fit one list. */
export function proxyProvider<Options>(provider: Omit<ProxyProvider<Options>, 'kind'>): ProxyProvider {
  const { options } = provider;
  return {
    ...provider,
    kind: 'proxy',
    options,
    create: (context, value) => provider.create(context, value as Options),
  };
}

/** As {@link proxyProvider}, for a runtime. */
export function runtimeProvider<Options>(provider: Omit<RuntimeProvider<Options>, 'kind'>): RuntimeProvider {
  const { options } = provider;
  return {
    ...provider,
    kind: 'runtime',
    options,
    create: (context, value) => provider.create(context, value as Options),
  };
}

/** As {@link proxyProvider}, for an authenticator. */
export function authenticatorProvider<Options>(
  provider: Omit<AuthenticatorProvider<Options>, 'kind'>,
): AuthenticatorProvider {
  const { options } = provider;
  const create = (context: HostContext, value: unknown): Authenticator => provider.create(context, value as Options);
  return { ...provider, kind: 'authenticator', options, create };
}

/** Marks the default export of a plugin, so that it is recognised across two copies of this package. */
export function definePlugin(definition: PluginDefinition): PluginDefinition {
  return Object.defineProperty({ ...definition }, brand, { value: true });
}

/** Whether a value came from {@link definePlugin}, of this copy of the package or another. */
export function isPluginDefinition(value: unknown): value is PluginDefinition {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
}
