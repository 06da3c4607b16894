import { formatRate } from '@scistream/core/terminal';
import type { GatewayState, StreamMove } from '@scistream/core/client';
import { table } from '../output.js';
import { listenersText, titleOf } from './text.js';

/** The human-readable output of `gateway ls`. */
export function gatewaysText(gateways: readonly GatewayState[]): string {
  const rows = gateways.map(({ name, up, drained, streams, ports, capacity, labels }) => [
    name,
    up ? (drained ? 'drained' : 'up') : drained ? 'down, drained' : 'down',
    String(streams),
    ports.total > 0 ? `${ports.used}/${ports.total}` : '-',
    capacityText(capacity),
    labels.join(' ') || '-',
  ]);
  const errors = gateways.flatMap(({ name, error }) => (error ? `${name}: ${error.message} [${error.code}]` : []));
  return [table(['GATEWAY', 'STATE', 'STREAMS', 'PORTS', 'CAPACITY', 'LABELS'], rows), ...errors].join('\n');
}

/** `20 Gb/s/100 Gb/s`; without a configured capacity only the used part, `-` for none. */
function capacityText({ used, total }: GatewayState['capacity']): string {
  if (total !== undefined) return `${formatRate(used)}/${formatRate(total)}`;
  return used > 0 ? formatRate(used) : '-';
}

/** One line of `gateway drain --move`, for one stream. */
export function moveLine({ from, to, side, listeners, error, ...stream }: StreamMove): string {
  const what = `${titleOf(stream)} (${side})`;
  if (to !== undefined) return `${what}  ${from} → ${to}  ${listenersText(listeners)}`;
  return error
    ? `${what}  not moved: ${error.message} [${error.code}]`
    : `${what}  not moved: the stream is not movable`;
}
