import { formatAddress, silentLogger } from '@scistream/core';
import { ControlClient, gatewayState, resolveEndpoint, type GatewayState } from '@scistream/core/client';
import type { S2ucConfig } from '@scistream/core/config';
import { unreleasedText } from '../present/gateways.js';
import { attempt, ok, problem, warning, type Finding } from './finding.js';

/** Clock differences that certificates and tickets tolerate, ms. */
const CLOCK_WARNING_MS = 10_000;
const CLOCK_PROBLEM_MS = 300_000;

/** Checks that every facility answers, is trusted, accepts the token, and agrees with the clock of this machine. */
export async function checkFacilities({ facilities }: S2ucConfig, deadlineMs?: number): Promise<readonly Finding[]> {
  const names = Object.keys(facilities);
  if (names.length === 0) {
    const write = 'Create a configuration with: scistream config init, then pass it with --config';
    return [warning('facilities', 'The configuration has no facilities.', write)];
  }
  const found = await Promise.all(
    names.map((name) => attempt(name, () => checkFacility(name, facilities, deadlineMs))),
  );
  return found.flat();
}

async function checkFacility(
  name: string,
  facilities: S2ucConfig['facilities'],
  deadlineMs?: number,
): Promise<readonly Finding[]> {
  const endpoint = resolveEndpoint(name, facilities);
  const client = new ControlClient(endpoint, silentLogger, deadlineMs);
  try {
    const { description, clockAheadMs } = await client.survey();
    const { version, facility, gateways } = description;
    const what = gateways.map(({ proxy, runtime }) => `${proxy} in ${runtime}`).join(', ');
    const there = ok(name, `${formatAddress(endpoint.address)} answers: ${facility}, version ${version}, ${what}.`);
    const renamed = warning(
      name,
      `The control server reports the name ${facility}.`,
      `Check the address in facilities.${name}.s2cs.`,
    );
    return [
      there,
      ...(facility === name ? [] : [renamed]),
      ...trust(name, endpoint.trust.kind),
      clock(name, clockAheadMs),
      ...gateways.flatMap((gateway) => unreleased(name, gatewayState(gateway))),
    ];
  } finally {
    client.close();
  }
}

function trust(name: string, kind: string): readonly Finding[] {
  if (kind !== 'plain') return [];
  return [
    warning(name, 'The connection is not encrypted.', `Set facilities.${name}.fingerprint, and remove insecure.`),
  ];
}

function unreleased(facility: string, { name, unreleased: kept }: GatewayState): readonly Finding[] {
  return kept ? [problem(facility, unreleasedText(name, kept), ...kept.reason.suggestions)] : [];
}

/** Compares the clocks. @param aheadMs How far the clock of the facility is ahead of this machine's, ms. */
export function clock(name: string, aheadMs: number | undefined): Finding {
  if (aheadMs === undefined) return ok(name, 'The control server does not report its time.');
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Math.abs(aheadMs) < CLOCK_WARNING_MS) return ok(name, 'The clocks agree.');
  const differ = `The clock of the facility is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine's.`;
  const set = 'On the machine with the wrong clock: timedatectl set-ntp true';
  return (Math.abs(aheadMs) < CLOCK_PROBLEM_MS ? warning : problem)(name, differ, set);
}
