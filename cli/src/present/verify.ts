import type { Hop, VerifyResult } from '@scistream/core/client';
import { roundTripText } from './text.js';

/** The human-readable output of `stream verify`: one line per hop, from the consumer to the producer. */
export function verifyText({ hops, roundTripMs }: VerifyResult): string {
  const total = roundTripMs === undefined ? [] : [`round trip ${roundTripText(roundTripMs)}`];
  return [...hops.map(hopLine), ...total].join('\n');
}

function hopLine({ name, from, to, checked, ok, roundTripMs, tested, error }: Hop): string {
  const mark = !checked ? '-' : ok ? '✔' : '✘';
  const time = roundTripMs === undefined ? '' : `  ${roundTripText(roundTripMs)}`;
  const some = tested ? `  ${tested.count} of ${tested.of} tested` : '';
  const why = checked && ok && !error ? '' : `  ${error?.message ?? 'not checked'}`;
  return `${mark} ${name.padEnd(36)} ${from} → ${to}${time}${some}${why}`;
}
