import { formatAddress } from '@scistream/core';
import { ControlClient, resolveEndpoint } from '@scistream/core/client';
import type { S2ucConfig } from '@scistream/core/config';
import { attempt, ok, problem, warning, type Finding } from './finding.js';

/** Certificates and tickets stand this difference of clocks, ms. */
const CLOCK_WARNING_MS = 10_000;
const CLOCK_PROBLEM_MS = 300_000;

/** Whether every facility answers, is trusted, takes the token, and has the same time as this machine. */
export async function checkFacilities({ facilities }: S2ucConfig): Promise<readonly Finding[]> {
  const names = Object.keys(facilities);
  if (names.length === 0) {
    const write = 'Write one with: scistream config init, and name it with --config';
    return [warning('facilities', 'The configuration has none.', write)];
  }
  const found = await Promise.all(names.map((name) => attempt(name, () => checkFacility(name, facilities))));
  return found.flat();
}

async function checkFacility(name: string, facilities: S2ucConfig['facilities']): Promise<readonly Finding[]> {
  const endpoint = resolveEndpoint(name, facilities);
  const client = new ControlClient(endpoint);
  try {
    const { description, clockAheadMs } = await client.survey();
    const { version, facility, gateways } = description;
    const what = gateways.map(({ proxy, runtime }) => `${proxy} in ${runtime}`).join(', ');
    const there = ok(name, `${formatAddress(endpoint.address)} answers: ${facility}, version ${version}, ${what}.`);
    const renamed = warning(name, `It calls itself ${facility}.`, 'Check that s2cs is the address you mean.');
    return [
      there,
      ...(facility === name ? [] : [renamed]),
      ...trust(name, endpoint.trust.kind),
      clock(name, clockAheadMs),
    ];
  } finally {
    client.close();
  }
}

function trust(name: string, kind: string): readonly Finding[] {
  if (kind !== 'plain') return [];
  return [warning(name, 'It is asked in plain text.', `Set facilities.${name}.fingerprint instead of insecure.`)];
}

/** @param aheadMs Of the facility. */
export function clock(name: string, aheadMs: number | undefined): Finding {
  if (aheadMs === undefined) return ok(name, 'It does not tell its time.');
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Math.abs(aheadMs) < CLOCK_WARNING_MS) return ok(name, 'Its clock and this one agree.');
  const differ = `Its clock is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this one.`;
  const set = 'timedatectl set-ntp true, on the machine that is wrong';
  return (Math.abs(aheadMs) < CLOCK_PROBLEM_MS ? warning : problem)(name, differ, set);
}
