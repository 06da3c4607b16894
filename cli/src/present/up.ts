import { formatDuration } from '@scistream/core';
import { formatRate } from '@scistream/core/terminal';
import type { ProgressEvent, SideStatus, VerifyResult } from '@scistream/core/client';
import type { UpResult } from './results.js';
import { listenersText, roundTripText, titleOf, untilText } from './text.js';

/** The lines for a step of `stream up`, without the check mark. */
export function progressLines(event: ProgressEvent): readonly string[] {
  switch (event.kind) {
    case 'uid':
      return [];
    case 'reserved': {
      const side = event.status[event.side];
      return side ? [reservedLine(side)] : [];
    }
    case 'encrypted':
      return ['encrypted  TLS 1.3, credentials for this stream only'];
    case 'verified':
      return untried(event.result) ? [] : [verifiedLine(event.result)];
  }
}

/** Whether the result of a check leaves the path between the gateways open; never without the other side. */
const untried = ({ verified, hops }: VerifyResult): boolean => !verified && hops.some(({ name }) => name === BETWEEN);
const BETWEEN = 'outbound gateway to inbound gateway';

/** The warning about a path that is not verified; undefined for another one. */
export const unverifiedText = ({ verified, unverified }: UpResult): string | undefined =>
  verified === false ? `The path between the gateways is not verified: ${unverified?.message ?? ''}` : undefined;

function reservedLine({ facility, gateway, proxy, runtime, listeners }: SideStatus): string {
  const how = `${proxy}${runtime === '' ? '' : ` · ${runtime}`}`;
  return `reserved   ${facility.padEnd(6)} ${gateway.padEnd(6)} ${how.padEnd(20)} ${listenersText(listeners)}`;
}

function verifiedLine({ hops, roundTripMs }: VerifyResult): string {
  const between = hops.find(({ name }) => name === BETWEEN);
  const where = between ? `${between.from} → ${between.to}` : 'own gateway';
  const time = roundTripMs === undefined ? '' : `  round trip ${roundTripText(roundTripMs)}`;
  return `verified   ${where}${time}      (producer not checked; use \`stream verify --full\`)`;
}

/** The output of `stream up --print`. The values need no quotes except the brackets of IPv6 addresses. */
export function scriptText({ uid, name, connect }: UpResult, what: 'addresses' | 'env'): string {
  if (what === 'addresses') return connect.join('\n');
  return [`STREAM_UID='${uid}'`, `STREAM_NAME='${name}'`, `STREAM_ADDRESSES='${connect.join(',')}'`].join('\n');
}

/** The human-readable output of `stream up`. */
export function upText(result: UpResult): string {
  const { ticket, connect, rate, setupMs, encryption, ...stream } = result;
  const until = stream.expiresAt === '' ? 'lifetime unknown' : `until ${untilText(stream.expiresAt)}`;
  const notEnforced =
    rate.bitsPerSecond > 0 && !rate.enforced
      ? [`The rate of ${formatRate(rate.bitsPerSecond)} is reserved but not enforced.`]
      : [];
  const unverified = unverifiedText(result);
  const plain = encryption === 'tls' ? [] : ['Data between the gateways is not encrypted.'];
  const notes = [...(unverified ? [unverified] : []), ...notEnforced, ...plain];
  const head = `${titleOf(stream)} is ready after ${formatDuration(setupMs)}, ${until}.`;
  if (ticket) {
    const command = 'scistream stream up --to FACILITY --outbound -';
    const secret =
      encryption === 'tls' ? ['The ticket is a secret, like a password. Send it only through a private channel.'] : [];
    return [
      `${head} To open the outbound side, run ${command} and paste this ticket:`,
      ticket,
      ...secret,
      ...notes,
    ].join('\n');
  }
  const lines = Array.from(
    { length: Math.ceil(connect.length / 4) },
    (_, i) => `  ${connect.slice(4 * i, 4 * i + 4).join('  ')}`,
  );
  return [`${head} Consumers connect to:`, ...lines, ...notes].join('\n');
}
