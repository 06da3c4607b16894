import { createHash } from 'node:crypto';

/**
 * Name of instance `index` of a stream: short, and still found by the first letters of the uid.
 * @param owner The data server it belongs to: those of both sides of a stream may share an engine.
 */
export function instanceName(owner: string, uid: string, index: number): string {
  const hash = createHash('sha256').update(`${owner} ${uid}`).digest('hex').slice(0, 8);
  return `scistream-${uid.slice(0, 8).toLowerCase()}-${hash}-${index}`;
}

/** Deals listeners out to `count` instances, listener i to instance i mod count. */
export function split<T>(items: readonly T[], count: number): T[][] {
  const shards: T[][] = Array.from({ length: Math.min(count, items.length) }, () => []);
  items.forEach((item, i) => shards[i % shards.length]?.push(item));
  return shards;
}

/** The inverse of {@link split}. */
export function join<T>(shards: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...shards.map((shard) => shard.length));
  return Array.from({ length: longest }, (_, i) => shards.flatMap((shard) => shard.slice(i, i + 1))).flat();
}
