import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Interfaces } from '@oclif/core';
import { silentLogger, toSciStreamError, within, SciStreamError, type ContainerRuntime } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import type { Offer, Providers } from '@scistream/core/server';
import { table } from './output.js';

/** How long a runtime may take to say that it is there, ms. */
const PING_MS = 5_000;

/** The parts of a daemon's configuration that proxies and runtimes get their options from. */
export type PluginConfig = Pick<S2csConfig | S2dsConfig, 'proxies' | 'runtimes' | 'plugins'>;

/** Something that cannot be used here, and how to change that. */
export interface Missing {
  readonly what: string;
  readonly how: readonly string[];
}

interface Listed extends Omit<Offer, 'kind' | 'error' | 'program'> {
  readonly usable: boolean;
  readonly missing?: Missing;
}

/**
 * What of a kind there is, what of it can be used on this machine, and how to get the rest; as JSON and as a table.
 * A proxy is asked for its program, which runtimes with images do not need; a runtime is tried.
 */
export async function offers(
  config: Interfaces.Config,
  kind: 'proxy' | 'runtime',
  options: PluginConfig,
): Promise<{ readonly json: readonly Listed[]; readonly text: string }> {
  const { loadedPlugins } = await import('./compose.js');
  const { createProviders } = await import('@scistream/core/server');
  const providers = createProviders(await loadedPlugins(config), options);
  const json = await Promise.all(
    providers.list(kind).map(async (offer): Promise<Listed> => {
      const { id, source, summary, aliases } = offer;
      const missing = offer.error
        ? missingOf(offer.error)
        : await (kind === 'proxy' ? tryProxy(providers, offer, options) : ping(providers, id));
      return { id, source, summary, ...(aliases && { aliases }), usable: !missing, ...(missing && { missing }) };
    }),
  );
  const rows = json.flatMap(({ id, source, summary, missing }) => [
    [id, source, missing ? `not usable here: ${missing.what}` : summary],
    ...(missing?.how ?? []).map((how) => ['', '', `  try: ${how}`]),
  ]);
  return { json, text: table(['NAME', 'FROM', ''], rows) };
}

/** Whether a proxy accepts its options and has its program, which the option `executable` may name. */
async function tryProxy(providers: Providers, offer: Offer, options: PluginConfig): Promise<Missing | undefined> {
  try {
    await providers.proxy(offer.id);
  } catch (error) {
    return missingOf(toSciStreamError(error));
  }
  const missing = await missingProgram(offer, options);
  if (!missing) return undefined;
  const what = `${missing.what} (runtimes with images bring their own)`;
  return { what, how: [...missing.how, 'or use --runtime docker'] };
}

/** The program of a proxy, where it is not found as the process runtime would look for it. */
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
    missingOf(toSciStreamError(error)),
  );

/**
 * Uses a runtime that answers, for as long as `use` takes.
 * @throws SCI_RUNTIME_UNREACHABLE, also when no answer comes for 5 s; SCI_PLUGIN_OPTIONS_INVALID, SCI_PLUGIN_*
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
      new SciStreamError('SCI_RUNTIME_UNREACHABLE', `The runtime ${id} has not answered for ${PING_MS / 1000} s.`, {
        suggestions: ['Look at the log of the engine or controller, or try again when it is less busy.'],
      });
    await within(runtime.ping(), PING_MS, late);
    return await use(runtime);
  } finally {
    await host.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const missingOf = ({ message, suggestions }: SciStreamError): Missing => ({ what: message, how: suggestions });
