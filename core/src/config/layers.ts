import { resolve } from 'node:path';
import { quote, SciStreamError } from '../contracts/errors.js';
import type { ConfigKind } from './schemas.js';
import { isDocument, shapeBelow, type Document, type Shape } from './shape.js';

/** Origin of a value, from lowest to highest priority. */
export type Origin = 'default' | 'file' | 'environment' | 'flag';

/** One leaf of the effective configuration, as written. */
export interface ConfigValue {
  /** Full path with dots, for example `gateways.0.wan`. */
  readonly key: string;
  readonly value: unknown;
  readonly origin: Origin;
  /** The file, variable or flag; empty for a default. */
  readonly source: string;
}

/** A key that a flag and an environment variable can set. */
export interface Setting {
  /** Name without dashes: `tls-cert` means `--tls-cert` and `SCISTREAM_TLS_CERT`. */
  readonly flag: string;
  readonly path: readonly (string | number)[];
  readonly type: 'text' | 'path' | 'boolean';
}

const gatewayPaths = (prefix: readonly (string | number)[]): Setting[] =>
  ['wan', 'lan', 'ports', 'proxy', 'runtime'].map((flag) => ({ flag, path: [...prefix, flag], type: 'text' }));

/** Keys that flags and environment variables can set, per kind. */
export const SETTINGS: Readonly<Record<ConfigKind, readonly Setting[]>> = {
  s2cs: [
    { flag: 'facility', path: ['facility'], type: 'text' },
    { flag: 'listen', path: ['listen'], type: 'text' },
    { flag: 'state', path: ['state'], type: 'path' },
    { flag: 'insecure', path: ['insecure'], type: 'boolean' },
    { flag: 'encryption', path: ['encryption'], type: 'text' },
    { flag: 'tls-cert', path: ['tls', 'cert'], type: 'path' },
    { flag: 'tls-key', path: ['tls', 'key'], type: 'path' },
    ...gatewayPaths(['gateways', 0]),
  ],
  s2ds: [
    { flag: 'name', path: ['name'], type: 'text' },
    { flag: 'listen', path: ['listen'], type: 'text' },
    { flag: 'state', path: ['state'], type: 'path' },
    ...gatewayPaths([]),
  ],
  s2uc: [],
};

/** The environment variable of a setting. */
export const variableOf = ({ flag }: Setting): string => `SCISTREAM_${flag.toUpperCase().replaceAll('-', '_')}`;

/** Merges the layers of the configuration and records the origin of each value. */
export class Layers {
  readonly document: Record<string, unknown>;
  readonly #sources = new Map<string, Pick<ConfigValue, 'origin' | 'source'>>();

  /** Starts with the contents of the file. */
  constructor(
    file: Document,
    private readonly fileName: string,
  ) {
    this.document = structuredClone(file);
  }

  /** Overrides a value of the file. Later calls win. @throws SCI_CONFIG_INVALID for an invalid boolean */
  override(setting: Setting, value: string | boolean, origin: 'environment' | 'flag'): void {
    const source = origin === 'flag' ? `--${setting.flag}` : variableOf(setting);
    this.#sources.set(setting.path.join('.'), { origin, source });
    set(this.document, setting.path, typed(setting, value, source));
  }

  /** Adds the defaults of the schema for missing keys, in place. */
  fill(shape: Shape): void {
    this.#fill(this.document, shape, []);
  }

  /** Every leaf in the order of the schema and the file. */
  values(): ConfigValue[] {
    return leaves(this.document, []).map(({ key, value }) => ({ key, value, ...this.#origin(key) }));
  }

  #origin(key: string): Pick<ConfigValue, 'origin' | 'source'> {
    for (let at = key; ; at = at.slice(0, at.lastIndexOf('.'))) {
      const found = this.#sources.get(at);
      if (found) return found;
      if (!at.includes('.')) return { origin: 'file', source: this.fileName };
    }
  }

  #fill(value: unknown, shape: Shape | undefined, path: readonly (string | number)[]): void {
    if (Array.isArray(value)) value.forEach((item, i) => this.#fill(item, shape?.items, [...path, i]));
    if (!isDocument(value)) return;
    for (const [key, below] of Object.entries(shape?.properties ?? {})) {
      if (value[key] !== undefined || below.default === undefined) continue;
      set(value, [key], structuredClone(below.default));
      this.#sources.set([...path, key].join('.'), { origin: 'default', source: '' });
    }
    for (const [key, item] of Object.entries(value)) this.#fill(item, shapeBelow(shape, key), [...path, key]);
  }
}

function typed(setting: Setting, value: string | boolean, source: string): string | boolean {
  if (setting.type === 'path') return resolve(String(value));
  if (setting.type === 'text' || typeof value === 'boolean') return value;
  if (/^(true|1|yes)$/i.test(value)) return true;
  if (/^(false|0|no|)$/i.test(value)) return false;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${source} is ${quote(value)}, neither true nor false.`, {
    suggestions: [`Write ${source}=true or ${source}=false.`],
  });
}

/** Sets a value at a path and creates missing parents. A scalar parent stays and fails validation later. */
function set(document: Record<string, unknown>, [key, ...rest]: readonly (string | number)[], value: unknown): void {
  if (key === undefined) return;
  if (rest.length === 0) {
    Object.defineProperty(document, key, { value, enumerable: true, writable: true, configurable: true });
    return;
  }
  document[key] ??= typeof rest[0] === 'number' ? [] : {};
  const next = document[key];
  if (typeof next === 'object' && next !== null) set(next as Record<string, unknown>, rest, value);
}

function leaves(value: unknown, path: readonly (string | number)[]): { key: string; value: unknown }[] {
  const isLeaf = typeof value !== 'object' || value === null || Object.keys(value).length === 0;
  if (isLeaf) return path.length === 0 ? [] : [{ key: path.join('.'), value }];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, [...path, key]));
}
