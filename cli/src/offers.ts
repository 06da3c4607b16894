import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Interfaces } from '@oclif/core';
import { silentLogger, toSciStreamError, within, SciStreamError } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import type { Offer, Providers } from '@scistream/core/server';
import { table } from './output.js';

/** How long a runtime may take to say that it is there, ms. */
const PING_MS = 5_000;

/** The parts of a daemon's configuration that proxies and runtimes get their options from. */
export type PluginConfig = Pick<S2csConfig | S2dsConfig, 'proxies' | 'runtimes' | 'plugins'>;

/** Something that cannot be used here, and how to change that. */
interface Missing {
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
    providers.list(kind).map(async ({ id, source, summary, aliases, ...offer }): Promise<Listed> => {
      const missing = offer.error
        ? missingOf(offer.error)
        : await (kind === 'proxy' ? program(offer) : ping(providers, id));
      return { id, source, summary, ...(aliases && { aliases }), usable: !missing, ...(missing && { missing }) };
    }),
  );
  const rows = json.flatMap(({ id, source, summary, missing }) => [
    [id, source, missing ? `not usable here: ${missing.what}` : summary],
    ...(missing?.how ?? []).map((how) => ['', '', `  try: ${how}`]),
  ]);
  return { json, text: table(['NAME', 'FROM', ''], rows) };
}

async function program({ program: needed }: Pick<Offer, 'program'>): Promise<Missing | undefined> {
  if (!needed) return undefined;
  const places = (process.env.PATH ?? '').split(delimiter);
  const found = places.map((place) => access(join(place, needed.name), constants.X_OK));
  if ((await Promise.allSettled(found)).some(({ status }) => status === 'fulfilled')) return undefined;
  return {
    what: `program ${needed.name} is not installed (runtimes with images bring their own)`,
    how: [needed.install, 'or use --runtime docker'],
  };
}

async function ping(providers: Providers, id: string): Promise<Missing | undefined> {
  const { PluginHost } = await import('@scistream/core/server');
  const directory = await mkdtemp(join(tmpdir(), 'scistream-ping-'));
  const host = new PluginHost(silentLogger, directory);
  try {
    const runtime = (await providers.runtime(id)).create(await host.context(id));
    const late = (): SciStreamError => new SciStreamError('SCI_RUNTIME_UNREACHABLE', `no answer in ${PING_MS} ms`);
    await within(runtime.ping(), PING_MS, late);
    return undefined;
  } catch (error) {
    return missingOf(toSciStreamError(error));
  } finally {
    await host.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const missingOf = ({ message, suggestions }: SciStreamError): Missing => ({ what: message, how: suggestions });
