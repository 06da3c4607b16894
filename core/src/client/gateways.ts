import { formatAddress } from '../contracts/address.js';
import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { Unreleased } from '../contracts/gateway.js';
import { ROLE_CODES } from '../contracts/stream.js';
import { fromErrorInfo } from '../wire/errors.js';
import type { ErrorInfo, Gateway, StreamMove as MoveMessage } from '../wire/gen/scistream/v1/streams_pb.js';
import { fromUnreleased } from '../wire/messages.js';
import type { ControlClient } from './control-client.js';
import type { Silent } from './survey.js';

/** A gateway of a control server; the last known values while it is down. */
export interface GatewayState {
  readonly name: string;
  readonly up: boolean;
  /** Whether the control server places no new streams on it. */
  readonly drained: boolean;
  /** Time of the drain, ISO 8601 UTC; absent: not drained, or an older control server does not report it. */
  readonly drainedSince?: string;
  /** Reason that an admin gave for the drain; absent: none. */
  readonly drainReason?: string;
  readonly streams: number;
  readonly ports: { readonly range: string; readonly used: number; readonly total: number };
  /** Rates that streams reserve, and the configured capacity, bit/s. */
  readonly capacity: { readonly used: number; readonly total?: number };
  readonly labels: readonly string[];
  readonly wan: string;
  readonly lan: string;
  /** Address of inbound listeners for the other side, if it differs from `wan`. */
  readonly advertise?: string;
  readonly proxy: string;
  readonly runtime: string;
  /** Streams whose release fails, and why for one of them. They keep their ports. Absent: none. */
  readonly unreleased?: Unreleased;
  /** Reason why it is down. */
  readonly error?: SciStreamError;
}

/** A gateway and its control server. */
export interface ListedGateway extends GatewayState {
  readonly facility: string;
  /** Address of the control server, host:port. */
  readonly s2cs: string;
}

/** The gateways of several control servers. */
export interface GatewayList {
  /** In the order of the control servers. */
  readonly gateways: readonly ListedGateway[];
  /** Control servers that did not answer. */
  readonly unreachable: readonly Silent[];
}

/**
 * Lists the gateways of control servers, which are asked at the same time.
 * @throws The reason of `signal`
 */
export async function listGateways(
  clients: readonly ControlClient[],
  signal: AbortSignal | undefined,
): Promise<GatewayList> {
  const answers = await Promise.all(
    clients.map(async (client): Promise<GatewayList> => {
      const of = { facility: client.endpoint.facility, s2cs: formatAddress(client.endpoint.address) };
      try {
        const { gateways } = await client.describe({ signal });
        return { gateways: gateways.map((gateway) => ({ ...of, ...gatewayState(gateway) })), unreachable: [] };
      } catch (error) {
        signal?.throwIfAborted();
        return { gateways: [], unreachable: [{ ...of, error: toSciStreamError(error) }] };
      }
    }),
  );
  return {
    gateways: answers.flatMap(({ gateways }) => gateways),
    unreachable: answers.flatMap(({ unreachable }) => unreachable),
  };
}

/** The result of a move for one stream of a gateway. */
export interface StreamMove {
  readonly uid: string;
  readonly name: string;
  readonly side: 'from' | 'to';
  readonly from: string;
  /** The new gateway; absent if the stream stays. */
  readonly to?: string;
  /** Current listeners, host:port. */
  readonly listeners: readonly string[];
  /** Reason why the move failed; absent for a stream that is not movable. */
  readonly error?: SciStreamError;
}

/** Converts a message; escapes text from the server. */
export function streamMove({ uid, name, role, from, to, listeners, error }: MoveMessage): StreamMove {
  return {
    uid,
    name,
    side: role === ROLE_CODES.inbound ? 'from' : 'to',
    from,
    ...(to !== '' && { to }),
    listeners,
    ...(error && { error: errorOf(error) }),
  };
}

/** Converts a message; escapes text from the server. */
export function gatewayState(message: Gateway): GatewayState {
  const { up, drained, streams, ports, portsInUse, portsTotal, capacity, capacityInUse, error } = message;
  return {
    name: message.name,
    up,
    drained,
    ...(message.drainedSince && { drainedSince: message.drainedSince }),
    ...(message.drainReason && { drainReason: message.drainReason }),
    streams,
    ports: { range: ports.replace(/^(\d+)-\1$/, '$1'), used: portsInUse, total: portsTotal },
    capacity: { used: Number(capacityInUse), ...(capacity > 0n ? { total: Number(capacity) } : {}) },
    labels: message.labels,
    wan: message.wan,
    lan: message.lan,
    ...(message.advertise && { advertise: message.advertise }),
    proxy: message.proxy,
    runtime: message.runtime,
    ...fromUnreleased(message),
    ...(error && { error: errorOf(error) }),
  };
}

function errorOf(info: ErrorInfo): SciStreamError {
  const { code, message, suggestions } = fromErrorInfo(info);
  return new SciStreamError(code, message, { suggestions });
}
