import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Interfaces } from '@oclif/core';
import { formatDuration, silentLogger, within, SciStreamError, type ContainerRuntime } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import type { Offer, Providers } from '@scistream/core/server';
import { table } from './output.js';
import { tryPlugins } from './plugin-apart.js';
import { explained } from './system-error.js';

/** Deadline for the answer of a runtime, ms. */
const PING_MS = 5_000;

/** The part of a daemon's configuration with the options of proxies and runtimes. */
export type PluginConfig = Pick<S2csConfig | S2dsConfig, 'proxies' | 'runtimes' | 'plugins'>;

/** The reason why something is unusable here, and suggestions to fix it. */
export interface Missing {
  readonly what: string;
  readonly how: readonly string[];
}

interface Listed extends Omit<Offer, 'kind' | 'error' | 'program'> {
  /** The limit of connections of each process of a proxy, if it is configured or has a default. */
  readonly maxConnections?: number;
  readonly usable: boolean;
  readonly missing?: Missing;
}

/**
 * The available proxies or runtimes, whether each is usable on this machine, and what is missing; as JSON and as a table.
 * Checks the program of each proxy (not needed by runtimes with images) and pings each runtime. The code of plugins that are
 * not part of SciStream runs apart. If a plugin is broken, sets the exit code of its error.
 */
export async function offers(
  config: Interfaces.Config,
  kind: 'proxy' | 'runtime',
  options: PluginConfig,
): Promise<{ readonly json: readonly Listed[]; readonly text: string }> {
  const { loadedPlugins } = await import('./compose.js');
  const { createProviders } = await import('@scistream/core/server');
  const plugins = await loadedPlugins(config);
  const providers = createProviders(plugins, options);
  const offered = providers.list(kind);
  const asked = plugins.filter(({ name }) => offered.some(({ source }) => source === name));
  const trials = await tryPlugins(asked, { options, use: kind });
  const json = await Promise.all(
    offered.map(async (offer): Promise<Listed> => {
      const { id, source, summary, aliases } = offer;
      const trial = trials.get(source);
      const broken = offer.error ?? trial?.error;
      if (broken) process.exitCode = broken.oclif.exit;
      const apart = trial?.provides?.find((one) => one.kind === kind && one.id === id);
      const failure = broken ?? apart?.error;
      const missing = failure ? missingOf(failure) : await lacking(providers, offer, options, apart !== undefined);
      const own = async (): Promise<number | undefined> => (await providers.proxy(id)).maxConnections;
      const limit = kind === 'runtime' || missing ? undefined : await (apart ? apart.maxConnections : own());
      return {
        id,
        source,
        summary,
        ...(aliases && { aliases }),
        ...(limit !== undefined && { maxConnections: limit }),
        usable: !missing,
        ...(missing && { missing }),
      };
    }),
  );
  const rows = json.flatMap(({ id, source, summary, maxConnections, missing }) => [
    [id, source, missing ? `unusable here: ${missing.what}` : summary],
    ...(maxConnections === undefined
      ? []
      : [['', '', `  at most ${maxConnections} connections per process (proxies.${id}.maxConnections)`]]),
    ...(missing?.how ?? []).map((how) => ['', '', `  try: ${how}`]),
  ]);
  return { json, text: table(['NAME', 'FROM', ''], rows) };
}

/**
 * Checks the options of a proxy and its program, which the option `executable` may name; pings a runtime.
 * @param apart Whether the code of the provider has run apart: only the program is left to check.
 */
async function lacking(
  providers: Providers,
  offer: Offer,
  options: PluginConfig,
  apart: boolean,
): Promise<Missing | undefined> {
  if (offer.kind === 'runtime') return apart ? undefined : await ping(providers, offer.id);
  try {
    if (!apart) await providers.proxy(offer.id);
  } catch (error) {
    return missingOf(explained(error));
  }
  const missing = await missingProgram(offer, options);
  if (!missing) return undefined;
  const what = `${missing.what} (not needed with a container runtime)`;
  return { what, how: [...missing.how, 'Or use a container runtime: --runtime docker'] };
}

/** The missing program of a proxy, searched as the process runtime does; undefined when it is installed. */
export async function missingProgram(
  { id, program }: Pick<Offer, 'id' | 'program'>,
  { proxies }: Pick<PluginConfig, 'proxies'>,
): Promise<Missing | undefined> {
  const own = proxies[id]?.executable;
  const name = typeof own === 'string' ? own : program?.name;
  if (name === undefined) return undefined;
  const places = name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  const found = places.map((place) => access(join(place, name), constants.X_OK));
  if ((await Promise.allSettled(found)).some(({ status }) => status === 'fulfilled')) return undefined;
  const how = typeof own === 'string' ? [`Check proxies.${id}.executable in the configuration.`] : [];
  return { what: `program ${name} is not installed`, how: [...how, ...(program ? [program.install] : [])] };
}

const ping = async (providers: Providers, id: string): Promise<Missing | undefined> =>
  await withRuntime(providers, id, () => Promise.resolve(undefined)).catch((error: unknown) =>
    missingOf(explained(error)),
  );

/**
 * Pings a runtime, calls `use` with it, and closes it afterwards.
 * @throws SCI_RUNTIME_UNREACHABLE, also without an answer within 5 s; SCI_PLUGIN_OPTIONS_INVALID, SCI_PLUGIN_*
 */
export async function withRuntime<T>(
  providers: Providers,
  id: string,
  use: (runtime: ContainerRuntime) => Promise<T>,
): Promise<T> {
  const { PluginHost } = await import('@scistream/core/server');
  const directory = await mkdtemp(join(tmpdir(), 'scistream-ping-'));
  const host = new PluginHost(silentLogger, directory);
  try {
    const runtime = (await providers.runtime(id)).create(await host.context(id));
    const late = (): SciStreamError =>
      new SciStreamError('SCI_RUNTIME_UNREACHABLE', `Runtime ${id} did not answer within ${formatDuration(PING_MS)}.`, {
        suggestions: ['Check the log of the container engine or controller, or retry later.'],
      });
    await within(runtime.ping(), PING_MS, late);
    return await use(runtime);
  } finally {
    await host.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const missingOf = ({ message, suggestions }: SciStreamError): Missing => ({ what: message, how: suggestions });
