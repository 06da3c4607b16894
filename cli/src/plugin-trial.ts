/**
 * Program that runs the code of one plugin. Usage: node plugin-trial.js, with a {@link TrialRequest} on stdin. Writes one line
 * with a {@link TrialAnswer} to file descriptor 3, and exits. `plugin-apart.ts` starts it.
 */
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SciStreamError, silentLogger } from '@scistream/core';
import { checkPlugin, createProviders, PluginHost, type FoundPlugin, type Offer } from '@scistream/core/server';
import { FakeRuntime } from '@scistream/core/testing';
import { withRuntime, type PluginConfig } from './offers.js';
import type { TrialAnswer, TrialRequest, Tried } from './plugin-apart.js';
import { explained } from './system-error.js';

/** Time for errors of timers and unhandled rejections to occur after the checks, ms. */
const SETTLE_MS = 300;

const request = JSON.parse(await text(process.stdin)) as TrialRequest;
const { plugin } = request;

const broken = (why: string, cause?: unknown): SciStreamError =>
  new SciStreamError('SCI_PLUGIN_LOAD_FAILED', `Cannot load ${plugin.name}: ${why}.`, {
    cause,
    suggestions: [`Report this to the authors of ${plugin.name}.`, `scistream plugin uninstall ${plugin.name}`],
  });

function answer(content: TrialAnswer): never {
  writeSync(3, `${JSON.stringify(content)}\n`);
  process.exit();
}

// Node.js also reports unhandled rejections here.
process.on('uncaughtException', (error) =>
  answer({ error: broken(`its code throws outside of any call: ${messageOf(error)}`, error) }),
);

/** The configured options of a provider, or else its example. */
function optionsOf({ kind, id }: Offer): PluginConfig['proxies'][string] {
  const { proxies, runtimes } = request.options;
  const configured = { proxy: proxies[id], runtime: runtimes[id], authenticator: undefined }[kind];
  const entry = plugin.manifest?.provides.find((one) => one.kind === kind && one.id === id);
  return configured ?? entry?.example ?? {};
}

/** Creates the part of a provider, on the fake runtime. The host checks its methods, and this function what it supports. */
async function make(offer: Offer, host: PluginHost): Promise<void> {
  const { kind, id } = offer;
  const options = optionsOf(offer);
  const own = { proxies: { [id]: options }, runtimes: { [id]: options }, plugins: [] };
  const providers = createProviders([plugin as FoundPlugin], own);
  const context = await host.context(`${kind}-${id}`);
  const instances = { ...context, runtime: new FakeRuntime(), gateway: 'trial', serverId: 'trial' };
  const create = {
    proxy: async () => (await providers.proxy(id)).create.bind(undefined, instances),
    runtime: async () => (await providers.runtime(id)).create.bind(undefined, context),
    authenticator: async () =>
      (await providers.authenticator(id, options, `auth with ${id}`)).create.bind(undefined, context),
  };
  const ready = await create[kind]();
  const wrong = flawOf(kind, ready());
  if (wrong === undefined) return;
  throw new SciStreamError('SCI_PLUGIN_SHAPE', `Plugin ${plugin.name} is not usable: ${kind} ${id} ${wrong}.`, {
    suggestions: [`Report this to the authors of ${plugin.name}.`],
  });
}

function flawOf(kind: Offer['kind'], made: object): string | undefined {
  if (kind === 'authenticator') return undefined;
  const supports: unknown = Reflect.get(made, 'supports');
  if (typeof supports !== 'object' || supports === null) return 'lacks the property supports';
  if (kind === 'proxy' && Reflect.get(supports, 'tcp') !== true && Reflect.get(supports, 'udp') !== true)
    return 'supports neither tcp nor udp';
  return undefined;
}

/** Uses a provider with the configured options, as a daemon would. Without a configuration, creation is enough. */
async function use({ kind, id }: Offer): Promise<Omit<Tried, 'kind' | 'id' | 'error'>> {
  const providers = createProviders([plugin as FoundPlugin], { ...request.options, plugins: [] });
  if (kind === 'runtime') await withRuntime(providers, id, () => Promise.resolve(undefined));
  const limit = kind === 'proxy' ? (await providers.proxy(id)).maxConnections : undefined;
  return limit === undefined ? {} : { maxConnections: limit };
}

async function tried(offer: Offer, host: PluginHost): Promise<Tried> {
  const { kind, id } = offer;
  try {
    await make(offer, host);
  } catch (error) {
    // Options that the configuration does not have yet are no fault of the plugin.
    if (!SciStreamError.is(error) || error.code !== 'SCI_PLUGIN_OPTIONS_INVALID') throw error;
  }
  if (request.use !== kind) return { kind, id };
  return await use(offer).then(
    (result) => ({ kind, id, ...result }),
    (error: unknown) => ({ kind, id, error: explained(error) }),
  );
}

async function trial(): Promise<TrialAnswer> {
  const error = await checkPlugin(plugin as FoundPlugin);
  if (error) return { error };
  const directory = await mkdtemp(join(tmpdir(), 'scistream-plugin-'));
  const host = new PluginHost(silentLogger, directory);
  try {
    const providers = createProviders([plugin as FoundPlugin], { proxies: {}, runtimes: {}, plugins: [] });
    const own = providers.list().filter(({ source }) => source === plugin.name);
    const provides: Tried[] = [];
    for (const offer of own) provides.push(await tried(offer, host));
    await host.close();
    await delay(SETTLE_MS);
    return { provides };
  } catch (cause) {
    return { error: SciStreamError.is(cause) ? cause : broken(messageOf(cause), cause) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

answer(await trial());
