import type { Interfaces } from '@oclif/core';
import type { Offer } from '@scistream/core/server';
import { table } from './output.js';

/** What of a kind can be used here, as JSON and as a table. */
export async function offers(
  config: Interfaces.Config,
  kind: Offer['kind'],
): Promise<{ readonly json: object; readonly text: string }> {
  const { loadedPlugins } = await import('./compose.js');
  const { createProviders } = await import('@scistream/core/server');
  const list = createProviders(await loadedPlugins(config), { proxies: {}, runtimes: {}, plugins: [] }).list(kind);
  const rows = list.map(({ id, source, summary, error }) => [id, source, error ? `broken: ${error.message}` : summary]);
  const json = list.map(({ id, source, summary, error }) => ({
    id,
    source,
    summary,
    usable: !error,
    ...(error && { error }),
  }));
  return { json, text: table(['NAME', 'FROM', ''], rows) };
}
