import { formatBytes, formatDuration } from '@scistream/core';
import { formatCount, formatRate } from '@scistream/core/terminal';
import { endsInMs, targetTexts, type HopTraffic, type SideStatus, type StreamStatus } from '@scistream/core/client';
import type { DownResult } from './results.js';
import { listenersText, momentText, titleOf, untilText } from './text.js';

/** The human-readable output of `stream status`. */
export function statusText(status: StreamStatus, now: Date = new Date()): string {
  const { state, from, to, rate, encryption, restarts, expiresAt, diagnosis, hops, connect } = status;
  const wanted =
    rate.bitsPerSecond > 0 ? `${formatRate(rate.bitsPerSecond)}${rate.enforced ? '' : ' (not enforced)'}` : 'none';
  return [
    `${titleOf(status)}  ${state}  until ${untilText(expiresAt)}`,
    ...endLine(status, now).map((line) => `  ${'ends'.padEnd(11)} ${line}`),
    `  uid         ${status.uid}`,
    ...(from ? [sideLine('from', from)] : []),
    ...(to ? [sideLine('to', to)] : []),
    `  connect to  ${connect.join('  ') || '-'}`,
    `  rate        ${wanted}`,
    `  encryption  ${encryption === 'tls' ? 'TLS 1.3, credentials for this stream only' : 'none'}`,
    ...(from?.sources.length ? [`  accepts     connections from ${from.sources.join(', ')}`] : []),
    ...(from?.movable || to?.movable ? [`  movable     ${movableText(status)}`] : []),
    ...(restarts > 0 ? [`  restarts    ${restarts}`] : []),
    ...limitLines(status),
    ...hops.map(hopLine),
    ...tlsLines(status),
    `  ${diagnosis}`,
  ].join('\n');
}

/** One human-readable line of `stream watch`. */
export function watchLine(status: StreamStatus, now: Date): string {
  const { state, diagnosis, hops, from, to } = status;
  const where = (gateway: string): string =>
    listenersText([from, to].find((side) => side?.movable && side.gateway === gateway)?.listeners ?? []);
  const carried = hops
    .map(({ gateway, counted, open }) =>
      [gateway, where(gateway), `${counted ? open : '?'} open`].filter(Boolean).join(' '),
    )
    .join(', ');
  const line = `${momentText(now)}  ${state.padEnd(9)}  ${carried}  ${diagnosis}`;
  return [line, ...endLine(status, now).map((end) => `ends ${end}`)].join('  ');
}

/** The remaining time of a stream that ends within 10 minutes, in full seconds. */
function endLine(status: StreamStatus, now: Date): readonly string[] {
  const left = endsInMs(status, now);
  return left === undefined ? [] : [`in ${formatDuration(Math.ceil(left / 1000) * 1000)}`];
}

/** The human-readable output of `stream down`. */
export function downText(result: DownResult): string {
  const { counted, connections, bytesToProducer, bytesToConsumer } = result;
  if (!counted) return `Released ${titleOf(result)}.`;
  const carried = `${formatBytes(bytesToConsumer)} to the consumer, ${formatBytes(bytesToProducer)} to the producer`;
  return `Released ${titleOf(result)}; ${formatCount(connections, 'connection')} carried ${carried}.`;
}

const limitLines = ({ from, to }: StreamStatus): readonly string[] => {
  const limits = [to, from].flatMap((side) =>
    side?.limit ? `${side.gateway} ${side.limit.connections} connections per process` : [],
  );
  return limits.length > 0 ? [`  limit       ${limits.join(', ')}`] : [];
};

const tlsLines = ({ from, to }: StreamStatus): readonly string[] =>
  [to, from].flatMap((side) =>
    side?.tlsFailure
      ? `  ${side.gateway.padEnd(11)} latest TLS failure: ${side.tlsFailure.reason} (${side.tlsFailure.at})`
      : [],
  );

const movableText = ({ from, to }: StreamStatus): string =>
  [from, to].flatMap((side) => (side?.leaving ? [`leaving ${side.leaving}`] : [])).join(', ') || 'yes';

function sideLine(
  name: string,
  { facility, state, gateway, proxy, runtime, listeners, s2cs, error, ...forwarding }: SideStatus,
): string {
  if (state === 'unreachable' || (state === 'unknown' && error))
    return `  ${name.padEnd(11)} ${facility} (${s2cs}) ${state}: ${error?.message ?? ''}`;
  const how = `${facility} ${gateway}  ${proxy} · ${runtime}`;
  return `  ${name.padEnd(11)} ${how}  ${state}  ${listenersText(listeners)} → ${listenersText(targetTexts(forwarding)) || '-'}`;
}

function hopLine({ gateway, counted, connections, open, ...hop }: HopTraffic): string {
  if (!counted) return `  ${gateway.padEnd(11)} traffic and failures not counted`;
  const way = (bytes: number, rate: number | undefined): string =>
    `${formatBytes(bytes)}${rate === undefined ? '' : ` (${formatRate(rate)})`}`;
  const toConsumer = way(hop.bytesToConsumer, hop.bitsPerSecondToConsumer);
  const toProducer = way(hop.bytesToProducer, hop.bitsPerSecondToProducer);
  const carried = `${formatCount(connections, 'connection')}, ${open} open; ${toConsumer} to the consumer, ${toProducer} to the producer`;
  return [`  ${gateway.padEnd(11)} ${carried}`, ...failuresLine(hop)].join('\n');
}

/** A line with the causes that occurred, if any. */
function failuresLine({ failures, refused = 0 }: Pick<HopTraffic, 'failures' | 'refused'>): readonly string[] {
  const { unreachable = 0, handshakeFailed = 0, resetByConsumer = 0, resetByProducer = 0, limitReached = 0 } = failures;
  const counted: readonly (readonly [number, string])[] = [
    [unreachable, 'target unreachable'],
    [handshakeFailed, 'handshake failed'],
    [resetByConsumer, 'reset by the consumer'],
    [resetByProducer, 'reset by the producer'],
    [limitReached, 'limit reached'],
    [refused, 'rejected by sources'],
  ];
  const occurred = counted.flatMap(([count, cause]) => (count > 0 ? `${count} ${cause}` : []));
  return occurred.length > 0 ? [`  ${''.padEnd(11)} failed: ${occurred.join(', ')}`] : [];
}
