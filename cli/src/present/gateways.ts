import { formatCount, formatRate } from '@scistream/core/terminal';
import type { GatewayList, GatewayState, StreamMove } from '@scistream/core/client';
import { table } from '../output.js';
import { errorText, listenersText, momentText, titleOf } from './text.js';

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
  const silent = unreachable.map(({ facility, error }) => `${facility} is not listed: ${errorText(error)}`);
  return [shown, ...gateways.flatMap(reasonLines), ...silent].join('\n');
}

/** Why a gateway takes no new streams, and which of its streams keep their ports. */
function reasonLines(gateway: GatewayState): readonly string[] {
  const { name, drained, drainedSince, drainReason, unreleased, error } = gateway;
  const since = drainedSince ? ` since ${momentText(drainedSince)}` : '';
  const drain =
    drained && (drainedSince || drainReason) ? [`${name} is drained${since}${reasonText(drainReason)}`] : [];
  return [
    ...drain,
    ...(error ? [`${name}: ${errorText(error)}`] : []),
    ...(unreleased ? [unreleasedText(name, unreleased)] : []),
  ];
}

/** One sentence about the streams of a gateway whose release fails. */
export const unreleasedText = (name: string, { streams, reason }: NonNullable<GatewayState['unreleased']>): string =>
  `${name}: ${formatCount(streams, 'stream')} cannot be released and still ${streams === 1 ? 'keeps its' : 'keep their'} ports: ${reason.message} [${reason.code}]`;

/** Why a gateway is drained, after the fact that it is; empty if no reason is known. */
export const reasonText = (reason: string | undefined): string => (reason ? `: ${reason}` : '');

/** The output of `gateway drain --move` for one stream: one line, and the suggestions of its error. */
export function moveLine({ from, to, side, listeners, error, ...stream }: StreamMove): string {
  const what = `${titleOf(stream)} (${side})`;
  if (to !== undefined) return `${what}  ${from} → ${to}  ${listenersText(listeners)}`;
  return error ? `${what}  not moved: ${errorText(error)}` : `${what}  not moved: the stream is not movable`;
}
