import type { Authenticator } from './authenticator.js';
import type { ContainerRuntime } from './container-runtime.js';
import type { Logger } from './logger.js';
import type { S2DS } from './s2ds.js';

/** Version of the plugin interface. It increases when existing plugins have to change. */
export const PLUGIN_API_VERSION = 1;

/** Kind of a provider. */
export type ProviderKind = 'proxy' | 'runtime' | 'authenticator';

/**
 * Where a proxy runs. `runtime`: only in instances of its runtime. `host`: on the machine of the gateway, for example as
 * rules of the kernel. The gateway then uses no runtime, and calls `S2DS.sweep` when it opens.
 */
export type Place = 'runtime' | 'host';

/** An installed package. */
export interface PluginVersion {
  readonly name: string;
  readonly version: string;
}

/** Alternative name of a provider. */
export interface Alias {
  readonly name: string;
  /** Runtime that the name implies. It overrides the requested runtime. */
  readonly runtime?: string;
}

/** One provider as package.json of the plugin declares it, readable without loading its code. */
export interface ManifestEntry {
  readonly kind: ProviderKind;
  /** Name in flags and in the configuration, such as `haproxy` in `--proxy haproxy`. */
  readonly id: string;
  /** One line for `scistream plugin ls`. */
  readonly summary: string;
  /** Alternative names, compared without case. The names of the Python implementation imply a proxy and a runtime. */
  readonly aliases?: readonly Alias[];
  /** Program that the proxy requires on the gateway, for runtimes without images, and the command that installs it. */
  readonly program?: { readonly name: string; readonly install: string };
  /** Where a proxy runs; default `runtime`. */
  readonly runsIn?: Place;
  /** Valid options, as an example of the configuration. */
  readonly example?: Readonly<Record<string, unknown>>;
}

/** Value of the key `scistream` in package.json of a plugin. */
export interface PluginManifest {
  readonly apiVersion: number;
  readonly provides: readonly ManifestEntry[];
}

/** The subset of Standard Schema v1 (https://standardschema.dev) in use. zod, valibot and arktype implement it. */
export interface OptionsSchema<Options> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Options> | Promise<SchemaResult<Options>>;
    readonly types?: { readonly input: unknown; readonly output: Options } | undefined;
  };
}

/** Result of a validation: the parsed value, or the issues. */
export type SchemaResult<Options> =
  | { readonly value: Options; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] };

/** Services of the daemon for a provider. Valid until the daemon stops. */
export interface HostContext {
  /** Adds the name of the plugin to every line. */
  readonly log: Logger;
  /** Persistent directory of this provider, mode 0700. */
  readonly dataDir: string;
  /** Aborts when the daemon stops. */
  readonly signal: AbortSignal;
  readonly host: { readonly version: string; readonly apiVersion: number };
  /** Registers a function that the daemon calls when it stops, in reverse order of registration. */
  onClose(close: () => Promise<void>): void;
}

/** Services of the data server for a proxy, including the runtime of its instances. */
export interface PluginContext extends HostContext {
  readonly runtime: ContainerRuntime;
  /** Name of the gateway, for the label `LABELS.gateway`. */
  readonly gateway: string;
  /** Id of the daemon, for the label `LABELS.serverId`. It survives a restart. */
  readonly serverId: string;
  /** A proxy calls it after each restart of an instance that ended unexpectedly. `ProxyContainer` does so. */
  readonly onRestart?: (uid: string, reason: string) => void;
}

/** Makes parts of one kind. {@link proxyProvider} and its siblings return one, and `definePlugin` takes a list of them. */
export interface Provider<Kind extends ProviderKind, Context, Made, Options = unknown> {
  readonly kind: Kind;
  readonly id: string;
  /** Schema of `proxies.<id>`, `runtimes.<id>` or `auth` in the configuration. `create` gets the parsed value. */
  readonly options: OptionsSchema<Options>;
  /** Called at most once per gateway and runtime. Work that can fail belongs into `start`. */
  create(context: Context, options: Options): Made;
}

/** Creates data servers that run a proxy. */
export type ProxyProvider<Options = unknown> = Provider<'proxy', PluginContext, S2DS, Options>;
/** Creates runtimes. */
export type RuntimeProvider<Options = unknown> = Provider<'runtime', HostContext, ContainerRuntime, Options>;
/** Creates authenticators. */
export type AuthenticatorProvider<Options = unknown> = Provider<'authenticator', HostContext, Authenticator, Options>;
/** A provider of any kind. */
export type AnyProvider = ProxyProvider | RuntimeProvider | AuthenticatorProvider;

/** The default export of a plugin. */
export interface PluginDefinition {
  readonly apiVersion: number;
  readonly providers: readonly AnyProvider[];
}

const brand = Symbol.for('scistream.plugin');

/** Declares a proxy. Infers the type of its options from the schema, then erases it so that providers fit one list. */
export function proxyProvider<Options>(
  provider: Omit<ProxyProvider<Options>, 'kind'>,
): Provider<'proxy', PluginContext, S2DS> {
  const { options } = provider;
  return {
    ...provider,
    kind: 'proxy',
    options,
    create: (context, value) => provider.create(context, value as Options),
  };
}

/** Declares a runtime, as {@link proxyProvider} does a proxy. */
export function runtimeProvider<Options>(
  provider: Omit<RuntimeProvider<Options>, 'kind'>,
): Provider<'runtime', HostContext, ContainerRuntime> {
  const { options } = provider;
  return {
    ...provider,
    kind: 'runtime',
    options,
    create: (context, value) => provider.create(context, value as Options),
  };
}

/** Declares an authenticator, as {@link proxyProvider} does a proxy. */
export function authenticatorProvider<Options>(
  provider: Omit<AuthenticatorProvider<Options>, 'kind'>,
): Provider<'authenticator', HostContext, Authenticator> {
  const { options } = provider;
  const create = (context: HostContext, value: unknown): Authenticator => provider.create(context, value as Options);
  return { ...provider, kind: 'authenticator', options, create };
}

/** Marks the default export of a plugin. The mark is also recognised by another copy of this package. */
export function definePlugin(definition: PluginDefinition): PluginDefinition {
  return Object.defineProperty({ ...definition }, brand, { value: true });
}

/** Returns true for a result of {@link definePlugin}, from this or another copy of the package. */
export function isPluginDefinition(value: unknown): value is PluginDefinition {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
}
