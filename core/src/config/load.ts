import { access, constants } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import type { CosmiconfigResult, Loader, Options, PublicExplorer } from 'cosmiconfig';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { messageOf, quote, SciStreamError, systemCode } from '../contracts/errors.js';
import { mustBeTrusted, type Protection } from '../contracts/trust.js';
import { configHome } from '../contracts/user-directories.js';
import { mustBeOwn } from './found.js';
import { Layers, SETTINGS, variableOf, type ConfigValue } from './layers.js';
import { configError, notAMapping } from './problems.js';
import { SCHEMAS, streamSchema, surroundings, type ConfigKind, type Configs, type StreamConfig } from './schemas.js';
import { configKind, isDocument, shapeOf, type Document, type Shape } from './shape.js';

/** File names of configuration files, in the order of the search. */
const SEARCH_PLACES = ['scistream.config.yaml', 'scistream.config.yml', 'scistream.config.json'];

/** Sources of the configuration. */
export interface LoadOptions {
  /** Read this file, without a search. */
  readonly file?: string | undefined;
  /** Values of flags by name. Undefined values are ignored. See {@link SETTINGS}. */
  readonly overrides?: Readonly<Record<string, string | boolean | undefined>>;
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A checked and parsed configuration. */
export interface LoadedConfig<Kind extends ConfigKind> {
  readonly config: Configs[Kind];
  /** The file that was read. Absent if there was none. */
  readonly file?: string;
  /** Every leaf with its origin, for `config show`. */
  readonly values: readonly ConfigValue[];
}

interface Read {
  readonly file: string;
  readonly document: Document;
}

/**
 * Reads the configuration of a kind. Flags override `SCISTREAM_…` variables, which override the file, which overrides
 * defaults. Without `file`, reads the first document of this kind among {@link SEARCH_PLACES} in the working directory,
 * the configuration directory of the user and /etc/scistream. No file is required. Only this user and root may be able to
 * write it; a named file of kind `s2uc` may belong to another user. Reads YAML and JSON and never runs code.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX (with the line), SCI_CONFIG_UNTRUSTED (for a file
 * in the working directory that was not named), SCI_FILE_UNTRUSTED (for other files), SCI_CONFIG_INVALID, or the code of
 * the only invalid value, such as SCI_PORT_RANGE_INVALID
 */
export async function loadConfig<Kind extends ConfigKind>(
  kind: Kind,
  options: LoadOptions = {},
): Promise<LoadedConfig<Kind>> {
  const env = options.env ?? process.env;
  const read = options.file === undefined ? await findDocument(kind, env) : await readDocument(options.file);
  if (options.file !== undefined && read) expectKind(kind, read);
  // A user may use the file of a colleague. A daemon does what its file says with the rights of the operator.
  if (read) mustBeTrusted(read.file, { anyOwner: options.file !== undefined && kind === 's2uc' });
  const around = surroundings(read ? dirname(read.file) : (workingDirectory() ?? '/'), env);
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
 * Reads one YAML or JSON file with any name.
 * @param protection What the file needs. Default: no other user than its owner can write it.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX, SCI_CONFIG_INVALID if it is not a mapping,
 * SCI_FILE_UNTRUSTED
 */
export async function readDocument(file: string, protection: Protection = { anyOwner: true }): Promise<Read> {
  const path = resolve(file);
  mustBeTrusted(path, protection);
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
 * The explorer of cosmiconfig without its public entry point. The entry point reads `.config/config.*` and package.json of
 * the working directory and runs `.config/config.js`, but a daemon must not run code from its working directory. Every
 * file is read as YAML, which includes JSON, whatever its extension.
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
  const own = configHome(env);
  const here = workingDirectory();
  const explorer = newExplorer();
  for (const directory of [here, own, '/etc/scistream']) {
    if (directory === undefined || (await isClosed(directory, env))) continue;
    const result = await explorer.search(directory);
    if (!result || result.isEmpty) continue;
    const read = document(result.filepath, result.config);
    if ((configKind(read.document) ?? kind) !== kind) continue;
    if (directory === here) mustBeOwn(read.file);
    return read;
  }
  return undefined;
}

/** Undefined if another program has removed it. */
function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

/** Whether the user has no access to a directory that the user did not name: after `sudo -u`, it belongs to someone else. */
async function isClosed(directory: string, { SCISTREAM_CONFIG_DIR: named }: NodeJS.ProcessEnv): Promise<boolean> {
  if (directory === named) return false;
  const error: unknown = await access(directory, constants.X_OK).catch((reason: unknown) => reason);
  return systemCode(error) === 'EACCES';
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

/** The values of a document. Aliases (`*name`) are resolved here. */
function values(path: string, parsed: ReturnType<typeof parseDocument>): unknown {
  try {
    const found: unknown = parsed.toJS();
    // Fails for an alias within its own anchor, which would be an endless structure.
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
  throw new SciStreamError('SCI_CONFIG_INVALID', `${file} is a configuration of ${actual}, not of ${kind}.`, {
    suggestions: [`Use a file created with: scistream config init --kind ${kind}`],
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
    suggestions: ['Create one with: scistream config init'],
  });

function notFound(file: string, cause: unknown): SciStreamError {
  const reason = systemCode(cause) === 'ENOENT' ? 'does not exist' : `is not readable: ${messageOf(cause)}`;
  return new SciStreamError('SCI_CONFIG_NOT_FOUND', `Configuration file ${quote(file)} ${reason}.`, {
    cause,
    suggestions: ['Check the path, or create a file with: scistream config init'],
  });
}
