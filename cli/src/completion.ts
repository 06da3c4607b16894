import type { Command, Interfaces } from '@oclif/core';
import type { S2ucConfig } from '@scistream/core/config';

/** The words of a command line after the name of the program, up to the word at the cursor, which may be empty. */
type Words = readonly string[];

/** A flag or an argument, as far as completion uses it. */
interface Field {
  readonly name: string;
  readonly options?: readonly string[] | undefined;
}

/**
 * What the word at the cursor can become. Asks no control server: names of streams come from the journal of this user,
 * and names of facilities from the configuration. Never fails: what cannot be read offers nothing.
 */
export async function completions(words: Words, config: Interfaces.Config): Promise<readonly string[]> {
  const { COMMANDS } = await import('./commands/index.js');
  const ids = Object.entries(COMMANDS).flatMap(([id, { hidden }]) => (hidden ? [] : [id]));
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const id = ids.find((one) => one.split(':').every((part, i) => part === before[i]));
  const command = id === undefined ? undefined : COMMANDS[id];
  const found = command
    ? await inCommand(command, before.slice(id?.split(':').length), current, config)
    : ids
        .map((one) => one.split(':'))
        .flatMap((parts) => (startsWith(parts, before) ? (parts[before.length] ?? []) : []));
  return [...new Set(found)].filter((one) => one.startsWith(current)).sort();
}

const startsWith = (parts: Words, before: Words): boolean => before.every((word, i) => word === parts[i]);

async function inCommand(
  command: Command.Class,
  before: Words,
  current: string,
  config: Interfaces.Config,
): Promise<readonly string[]> {
  // Absent where a command has none.
  const { baseFlags = {}, flags: own = {}, args = {} } = command;
  const flags = Object.entries(baseFlags).concat(Object.entries(own));
  const takesValue = new Map<string, Field>(
    flags.flatMap(([name, flag]) => (flag.type === 'option' ? [[`--${name}`, { name, options: flag.options }]] : [])),
  );
  const last = before.at(-1) ?? '';
  const flag = takesValue.get(last);
  const values = (field: Field): Promise<readonly string[]> => valuesOf(field, command.id, before, config);
  if (flag) return await values(flag);
  if (current.startsWith('-')) return flags.flatMap(([name, { hidden }]) => (hidden ? [] : [`--${name}`]));
  const given = before.filter((word, i) => !word.startsWith('-') && !takesValue.has(before[i - 1] ?? ''));
  const fields = Object.entries(args);
  // A command that accepts any number of arguments repeats the last one.
  const [name, argument] = fields[command.strict ? given.length : Math.min(given.length, fields.length - 1)] ?? [];
  return name === undefined ? [] : await values({ name, options: argument?.options });
}

/** The known values of a flag or an argument. */
async function valuesOf(
  { name, options }: Field,
  command: string,
  before: Words,
  config: Interfaces.Config,
): Promise<readonly string[]> {
  if (options) return options;
  const file = before[before.indexOf('--config') + 1];
  const named = before.includes('--config') ? file : undefined;
  if (name === 'ref') return await streams();
  if (name === 'name' && command === 'stream:up') return Object.keys((await facilities(named)).streams);
  if (['facility', 'from', 'to', 'server'].includes(name)) return Object.keys((await facilities(named)).facilities);
  if (name === 'proxy' || name === 'runtime') return await providers(name, config);
  return [];
}

async function facilities(file: string | undefined): Promise<Pick<S2ucConfig, 'facilities' | 'streams'>> {
  const { loadConfig } = await import('@scistream/core/config');
  return await loadConfig('s2uc', { file }).then(
    ({ config }) => config,
    () => ({ facilities: {}, streams: {} }),
  );
}

/** Streams that this user has made and whose lifetime has not ended, by name where they have one. */
async function streams(): Promise<readonly string[]> {
  const { Journal } = await import('@scistream/core/client');
  const entries = await new Journal().list().catch(() => []);
  const now = new Date().toISOString();
  return entries.filter(({ expiresAt }) => expiresAt > now).map(({ name, uid }) => name || uid);
}

async function providers(kind: 'proxy' | 'runtime', config: Interfaces.Config): Promise<readonly string[]> {
  const { loadedPlugins } = await import('./compose.js');
  const { createProviders } = await import('@scistream/core/server');
  const plugins = await loadedPlugins(config).catch(() => []);
  return createProviders(plugins, { proxies: {}, runtimes: {}, plugins: [] })
    .list(kind)
    .map(({ id }) => id);
}
