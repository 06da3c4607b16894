import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { SCHEMAS, type ConfigKind, type Surroundings } from './schemas.js';

/** A mapping read from a file, the environment or flags. */
export type Document = Readonly<Record<string, unknown>>;

/** The parts of JSON Schema that our schemas use. */
export interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly default?: unknown;
}

/** Whether a value is a mapping of a document. */
export const isDocument = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The JSON Schema of a configuration as written, with the defaults of this host. */
export const shapeOf = (kind: ConfigKind, around: Surroundings): Shape =>
  z.toJSONSchema(SCHEMAS[kind](around), { io: 'input' }) as Shape;

/**
 * The JSON Schema (draft 2020-12) of a configuration file, for editors and the reference. Its defaults are
 * those of a daemon that runs as root on a host named `localhost`.
 */
export function toJsonSchema(kind: ConfigKind): Record<string, unknown> {
  const around = { directory: '/', hostName: 'localhost', stateHome: '/var/lib' };
  return { ...shapeOf(kind, around), title: `Configuration of ${kind}` };
}

/** The shape of a value in an object or array. */
export function shapeBelow(shape: Shape | undefined, key: PropertyKey): Shape | undefined {
  if (!shape) return undefined;
  if (typeof key === 'number') return shape.items;
  const { additionalProperties: other } = shape;
  return shape.properties?.[String(key)] ?? (typeof other === 'object' ? other : undefined);
}

/** The candidate most similar to `word`, or undefined if all differ too much. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  const ranked = candidates
    .map((candidate) => ({ candidate, far: distance(lower, candidate.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  const best = ranked[0];
  return best && best.far <= Math.max(2, Math.floor(word.length / 2)) ? best.candidate : undefined;
}

/** The kind of a configuration, from keys that only one kind has. Undefined if it is ambiguous. */
export function configKind(document: unknown): ConfigKind | undefined {
  if (!isDocument(document)) return undefined;
  const has = (...keys: string[]): boolean => keys.some((key) => key in document);
  if (has('facilities', 'streams')) return 's2uc';
  if (has('gateways', 'facility', 'limits', 'auth', 'insecure', 'policy', 'audit')) return 's2cs';
  if (has('wan', 'lan', 'ports', 'name')) return 's2ds';
  if (has('tls')) return 's2cs';
  if (typeof document.listen === 'string') return document.listen.startsWith('unix:') ? 's2ds' : 's2cs';
  return undefined;
}
