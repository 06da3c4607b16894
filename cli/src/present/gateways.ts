import type { SciStreamError } from '@scistream/core';
import { formatRate } from '@scistream/core/terminal';
import type { GatewayList, GatewayState, StreamMove } from '@scistream/core/client';
import { table } from '../output.js';
import { listenersText, momentText, titleOf } from './text.js';

const HEADINGS = ['GATEWAY', 'FACILITY', 'STATE', 'STREAMS', 'PORTS', 'RESERVED', 'CAPACITY', 'LABELS'];

/** The human-readable output of `gateway ls`: the table, then why a gateway is drained or down or not listed. */
export function gatewaysText({ gateways, unreachable }: GatewayList): string {
  const rows = gateways.map(({ name, facility, up, drained, streams, ports, capacity, labels }) => [
    name,
    facility,
    up ? (drained ? 'drained' : 'up') : drained ? 'down, drained' : 'down',
    String(streams),
    ports.total > 0 ? `${ports.used}/${ports.total}` : '-',
    capacity.used > 0 ? formatRate(capacity.used) : '-',
    capacity.total === undefined ? '-' : formatRate(capacity.total),
    labels.join(' ') || '-',
  ]);
  const shown = rows.length > 0 ? table(HEADINGS, rows) : 'No gateways.';
  const silent = unreachable.flatMap(({ facility, error }) => errorLines(`${facility} is not listed`, error));
  return [shown, ...gateways.flatMap(reasonLines), ...silent].join('\n');
}

/** Why a gateway takes no new streams. */
function reasonLines({ name, drained, drainedSince, drainReason, error }: GatewayState): readonly string[] {
  const since = drainedSince ? ` since ${momentText(drainedSince)}` : '';
  const drain =
    drained && (drainedSince || drainReason) ? [`${name} is drained${since}${reasonText(drainReason)}`] : [];
  return [...drain, ...(error ? errorLines(name, error) : [])];
}

/** Why a gateway is drained, after the fact that it is; empty if no reason is known. */
export const reasonText = (reason: string | undefined): string => (reason ? `: ${reason}` : '');

const errorLines = (what: string, { message, code, suggestions }: SciStreamError): readonly string[] => [
  `${what}: ${message} [${code}]`,
  ...suggestions.map((suggestion) => `Try: ${suggestion}`),
];

/** One line of `gateway drain --move`, for one stream. */
export function moveLine({ from, to, side, listeners, error, ...stream }: StreamMove): string {
  const what = `${titleOf(stream)} (${side})`;
  if (to !== undefined) return `${what}  ${from} → ${to}  ${listenersText(listeners)}`;
  return error
    ? `${what}  not moved: ${error.message} [${error.code}]`
    : `${what}  not moved: the stream is not movable`;
}
