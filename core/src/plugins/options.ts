import { SciStreamError } from '../contracts/errors.js';
import type { OptionsSchema, SchemaResult } from '../contracts/plugin.js';

/** Unchecked options from the configuration. */
export type Options = Readonly<Record<string, unknown>>;

type Issue = NonNullable<SchemaResult<unknown>['issues']>[number];

/**
 * Checks options with the schema of the provider (Standard Schema v1).
 * @param where Path of the options in the configuration, for the message: `proxies.haproxy`
 * @throws SCI_PLUGIN_OPTIONS_INVALID with one sentence per problem
 */
export async function checkOptions<T>(schema: OptionsSchema<T>, raw: Options, where: string): Promise<T> {
  const result = await schema['~standard'].validate(raw);
  if (result.issues === undefined) return result.value;
  const sentences = result.issues.map((issue) => `${[where, ...keys(issue)].join('.')}${textOf(issue)}`);
  throw new SciStreamError('SCI_PLUGIN_OPTIONS_INVALID', `${sentences.join('; ')}.`, {
    suggestions: [`Correct ${where} in the configuration.`],
  });
}

/** The message of an issue in our words; schemas of zod name types instead. */
const textOf = ({ message }: Issue): string =>
  /received undefined$/.test(message) ? ' is missing' : `: ${message.replace(/^Invalid \w+: /, '')}`;

/** The keys of a path, whose segments are keys or objects with a key. */
function keys({ path = [] }: Issue): string[] {
  return path.map((segment) =>
    typeof segment === 'object' && segment !== null && 'key' in segment ? String(segment.key) : String(segment),
  );
}
