import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { CosmiconfigResult, Loader, Options, PublicExplorer } from 'cosmiconfig';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { messageOf, quote, SciStreamError, systemCode } from '../contracts/errors.js';
import { mustBeOwn } from './found.js';
import { Layers, SETTINGS, variableOf, type ConfigValue } from './layers.js';
import { configError, notAMapping } from './problems.js';
import { SCHEMAS, streamSchema, surroundings, type ConfigKind, type Configs, type StreamConfig } from './schemas.js';
import { configKind, isDocument, shapeOf, type Document, type Shape } from './shape.js';

/** The file names that are looked for, in this order. */
export const SEARCH_PLACES = ['scistream.config.yaml', 'scistream.config.yml', 'scistream.config.json'];

/** Where configuration comes from besides its usual places. */
export interface LoadOptions {
  /** This file and no other. */
  readonly file?: string | undefined;
  /** Values of flags by the name of the flag; undefined ones are ignored. See {@link SETTINGS}. */
  readonly overrides?: Readonly<Record<string, string | boolean | undefined>>;
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A configuration, checked and parsed. */
export interface LoadedConfig<Kind extends ConfigKind> {
  readonly config: Configs[Kind];
  /** The file it was read from; absent when there was none and everything is default, environment or flag. */
  readonly file?: string;
  /** Every leaf with where it came from, for `config show`. */
  readonly values: readonly ConfigValue[];
}

interface Read {
  readonly file: string;
  readonly document: Document;
}

/**
 * Reads the configuration of a kind: flags beat `SCISTREAM_…` variables, which beat the file, which beats defaults.
 * Without `file` the first document of this kind among {@link SEARCH_PLACES} in the working directory, the user's
 * configuration directory and /etc/scistream is taken, and none at all is fine; in the working directory, only one that
 * nobody but this user and root can have written. YAML and JSON only, never code.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX (with the line), SCI_CONFIG_UNTRUSTED (found, not
 * named), SCI_CONFIG_INVALID, or the code of the one value that is wrong, such as SCI_PORT_RANGE_INVALID
 */
export async function loadConfig<Kind extends ConfigKind>(
  kind: Kind,
  options: LoadOptions = {},
): Promise<LoadedConfig<Kind>> {
  const env = options.env ?? process.env;
  const read = options.file === undefined ? await findDocument(kind, env) : await readDocument(options.file);
  if (options.file !== undefined && read) expectKind(kind, read);
  const around = surroundings(read ? dirname(read.file) : process.cwd(), env);
  const shape = shapeOf(kind, around);
  const layers = new Layers(read?.document ?? {}, read?.file ?? '');
  applyOverrides(kind, layers, options.overrides ?? {}, env);
  layers.fill(shape);
  const schema: z.ZodType<unknown> = SCHEMAS[kind](around);
  const config = parse(schema, layers.document, read?.file ?? `Configuration of ${kind}`, shape) as Configs[Kind];
  return { config, ...(read && { file: read.file }), values: layers.values() };
}

/**
 * Reads a file with a single stream document (`from`, `to`, `producer` …).
 * @throws as {@link loadConfig}
 */
export async function loadStream(file: string): Promise<StreamConfig> {
  const read = await readDocument(file);
  const schema = streamSchema();
  return parse(schema, read.document, read.file, z.toJSONSchema(schema, { io: 'input' }) as Shape);
}

/**
 * Reads one YAML or JSON file, whatever its name.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX, SCI_CONFIG_INVALID when it is no mapping
 */
export async function readDocument(file: string): Promise<Read> {
  const path = resolve(file);
  const explorer = newExplorer();
  try {
    const result = await explorer.load(path);
    if (!result || result.isEmpty) throw empty(path);
    return document(path, result.config);
  } catch (error) {
    if (SciStreamError.is(error)) throw error;
    throw notFound(file, error);
  }
}

const { Explorer } = createRequire(import.meta.url)('cosmiconfig/dist/Explorer.js') as {
  readonly Explorer: new (options: Options & Record<string, unknown>) => Pick<PublicExplorer, 'load' | 'search'>;
};

/**
 * cosmiconfig without its front door, which reads `.config/config.*` and package.json of the working directory and runs
 * `.config/config.js` it finds there; a daemon must never run code because of where it was started. Every file is YAML
 * (of which JSON is a part), whatever its name ends with.
 */
function newExplorer(): Pick<PublicExplorer, 'load' | 'search'> {
  return new Explorer({
    moduleName: 'scistream',
    searchPlaces: SEARCH_PLACES,
    searchStrategy: 'none',
    loaders: { default: loadYaml },
    ignoreEmptySearchPlaces: true,
    cache: false,
    transform: (result: CosmiconfigResult) => result,
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: true,
    applyPackagePropertyPathToConfiguration: false,
  });
}

async function findDocument(kind: ConfigKind, env: NodeJS.ProcessEnv): Promise<Read | undefined> {
  const own = env.SCISTREAM_CONFIG_DIR || join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'scistream');
  const here = process.cwd();
  const explorer = newExplorer();
  for (const directory of [here, own, '/etc/scistream']) {
    const result = await explorer.search(directory);
    if (!result || result.isEmpty) continue;
    const read = document(result.filepath, result.config);
    if ((configKind(read.document) ?? kind) !== kind) continue;
    if (directory === here) await mustBeOwn(read.file);
    return read;
  }
  return undefined;
}

const loadYaml: Loader = (path, content) => {
  const parsed = parseDocument(content, { prettyErrors: true, logLevel: 'error' });
  const [error] = parsed.errors;
  if (!error) return values(path, parsed);
  const line = error.linePos?.[0].line ?? 1;
  const reason = (error.message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '');
  throw new SciStreamError('SCI_CONFIG_SYNTAX', `${path} line ${line}: ${reason.replace(/[.:]?$/, '.')}`, {
    suggestions: [`Correct line ${line}, then run: scistream config check --config ${path}`],
  });
};

/** The values of a document; references (`*name`) are followed only now. */
function values(path: string, parsed: ReturnType<typeof parseDocument>): unknown {
  try {
    const found: unknown = parsed.toJS();
    // Fails where an alias stands inside of what it names: nothing that comes later would find an end.
    JSON.stringify(found);
    return found ?? undefined;
  } catch (cause) {
    throw new SciStreamError('SCI_CONFIG_SYNTAX', `${path}: ${messageOf(cause).split('\n', 1).join()}.`, {
      cause,
      suggestions: [`Correct the anchors and aliases, then run: scistream config check --config ${path}`],
    });
  }
}

function document(file: string, value: unknown): Read {
  if (!isDocument(value)) throw notAMapping(file, value);
  return { file, document: value };
}

function expectKind(kind: ConfigKind, { file, document: found }: Read): void {
  const actual = configKind(found);
  if (actual === undefined || actual === kind) return;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${file} is the configuration of ${actual}, not of ${kind}.`, {
    suggestions: [`Give a file made by: scistream config init --kind ${kind}`],
  });
}

function applyOverrides(
  kind: ConfigKind,
  layers: Layers,
  overrides: Readonly<Record<string, string | boolean | undefined>>,
  env: NodeJS.ProcessEnv,
): void {
  for (const setting of SETTINGS[kind]) {
    const variable = env[variableOf(setting)];
    const flag = overrides[setting.flag];
    if (flag !== undefined) layers.override(setting, flag, 'flag');
    else if (variable !== undefined && variable !== '') layers.override(setting, variable, 'environment');
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, source: string, shape: Shape): T {
  const result = schema.safeParse(value, { reportInput: false });
  if (result.success) return result.data;
  throw configError(source, result.error.issues, shape);
}

const empty = (path: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_EMPTY', `${path} is empty.`, {
    suggestions: ['Write one with: scistream config init'],
  });

function notFound(file: string, cause: unknown): SciStreamError {
  const reason = systemCode(cause) === 'ENOENT' ? 'does not exist' : `cannot be read: ${messageOf(cause)}`;
  return new SciStreamError('SCI_CONFIG_NOT_FOUND', `Configuration file ${quote(file)} ${reason}.`, {
    cause,
    suggestions: [`Check the path, or write a new file with: scistream config init`],
  });
}
