import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { S2DSException } from '../contracts/errors.js';
import {
  FAILURES,
  parseProbeAnswer,
  type Failures,
  type ListenerStatistics,
  type S2DSStatus,
} from '../contracts/stream.js';
import { errorInfo, fromErrorInfo } from './errors.js';
import { GatewayStreamStatusSchema, type GatewayStreamStatus } from './gen/scistream/v1/gateway_pb.js';
import type {
  ListenerStatistics as StatisticsMessage,
  ListenerStatisticsSchema,
} from './gen/scistream/v1/streams_pb.js';

/** Counters as a message. */
export function statisticsMessage(counters: ListenerStatistics): MessageInitShape<typeof ListenerStatisticsSchema> {
  const { connections, open, bytesIn, bytesOut, errors, refused, failures = {} } = counters;
  const known = FAILURES.flatMap((key) => (failures[key] === undefined ? [] : [[key, BigInt(failures[key])]]));
  return {
    connections: BigInt(connections),
    open: BigInt(open),
    bytesIn: BigInt(bytesIn),
    bytesOut: BigInt(bytesOut),
    errors: BigInt(errors),
    ...(refused === undefined ? {} : { refused: BigInt(refused) }),
    ...(Object.fromEntries(known) as Partial<Record<keyof Failures, bigint>>),
  };
}

/** The inverse of {@link statisticsMessage}. */
export function fromStatistics({
  connections,
  open,
  bytesIn,
  bytesOut,
  errors,
  refused,
  ...counts
}: StatisticsMessage): ListenerStatistics {
  const known = FAILURES.flatMap((key) => (counts[key] === undefined ? [] : [[key, Number(counts[key])]]));
  return {
    connections: Number(connections),
    open: Number(open),
    bytesIn: Number(bytesIn),
    bytesOut: Number(bytesOut),
    errors: Number(errors),
    ...(refused === undefined ? {} : { refused: Number(refused) }),
    ...(known.length > 0 ? { failures: Object.fromEntries(known) as Failures } : {}),
  };
}

/** A data server's status as a message. */
export function statusMessage({
  state,
  restarts,
  listeners,
  limit,
  tlsFailure,
  probe,
  error,
}: S2DSStatus): GatewayStreamStatus {
  return create(GatewayStreamStatusSchema, {
    state,
    restarts,
    probe: probe ?? '',
    statistics: listeners.map(statisticsMessage),
    ...(limit ? { limit } : {}),
    ...(tlsFailure ? { tlsFailure } : {}),
    ...(error ? { error: errorInfo(error) } : {}),
  });
}

/** The inverse of {@link statusMessage}. */
export function fromStatus(status: GatewayStreamStatus): S2DSStatus {
  const { state, restarts, statistics, limit, tlsFailure, error, probe } = status;
  const listeners = statistics.map(fromStatistics);
  const told = parseProbeAnswer(probe);
  const reported = limit && { limit: { connections: limit.connections, reached: limit.reached } };
  const failure = tlsFailure && { tlsFailure: { at: tlsFailure.at, reason: tlsFailure.reason } };
  const more = { ...(told ? { probe: told } : {}), ...reported, ...failure };
  const known = state === 'failed' || state === 'restarting' ? state : 'running';
  if (known === 'running' || (known === 'restarting' && !error)) return { state: known, restarts, listeners, ...more };
  const { code, message, suggestions } = fromErrorInfo(error);
  return { state: known, restarts, listeners, error: new S2DSException(code, message, { suggestions }) };
}
