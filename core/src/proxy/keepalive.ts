import { z } from 'zod';
import { parseDuration } from '../contracts/units.js';

/** The shortest time that the socket options can express, ms. */
const SECOND_MS = 1_000;

const seconds = (initial: string) =>
  z
    .string()
    .default(initial)
    .transform((text) => parseDuration(text) / SECOND_MS)
    .refine((time) => Number.isInteger(time) && time >= 1 && time <= 32_767, 'whole seconds, from 1s to 32767s');

/**
 * Schema of the key `keepalive` of a proxy: TCP keepalive of all its connections. The defaults are those of every proxy.
 * A peer that does not answer is detected after idle + interval * probes, by default 90 s.
 */
export const keepaliveOptions = z
  .strictObject({
    /** Time without traffic before the first probe. */
    idle: seconds('30s'),
    /** Time between probes without an answer. */
    interval: seconds('10s'),
    /** Number of probes without an answer after which the connection is reset. */
    probes: z.int().min(1).max(127).default(6),
  })
  .prefault({});

/** Parsed {@link keepaliveOptions}; times in seconds. */
export type KeepaliveOptions = z.output<typeof keepaliveOptions>;
