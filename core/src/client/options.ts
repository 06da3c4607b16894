import { randomUUID } from 'node:crypto';
import { formatAddress, parseAddress, type Address, type Transport } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import { parseUid } from '../contracts/stream.js';
import { parseDuration, parseRate } from '../contracts/units.js';
import { resolveEndpoint, type Endpoint, type TrustSettings } from './endpoint.js';
import type { Plan } from './setup.js';
import type { Ticket } from './ticket.js';

/** How long a stream may take to become ready, ms. */
const DEFAULT_WAIT_MS = 30_000;
/** Longer than any stream lives, and short enough for a timer (2^31 ms). */
const MAX_WAIT_MS = 20 * 86_400_000;

/** A control server: the name of a facility of the configuration, `host:port[#sha256:…]`, or an endpoint. */
export type ServerRef = string | Endpoint;

/** What one side of a stream should be. All optional; values as text are parsed as on the command line. */
export interface SideOptions {
  /** Default: a new UUID. */
  readonly uid?: string | undefined;
  readonly name?: string | undefined;
  /** How many listeners; default one per producer address. */
  readonly connections?: number | undefined;
  /** bit/s, or text such as `20Gbps`. */
  readonly rate?: number | string | undefined;
  /** ms, or text such as `8h`; default: what the control server allows. */
  readonly lifetime?: number | string | undefined;
  /** Default: what the gateway prefers. */
  readonly proxy?: string | undefined;
  readonly runtime?: string | undefined;
  readonly transport?: Transport | undefined;
  /** Whether listeners may change: an operator may then move the stream to another gateway. */
  readonly movable?: boolean | undefined;
  /** Of the data between the gateways; default `tls`, with credentials that are made for this stream alone. */
  readonly encryption?: 'tls' | 'none' | undefined;
  /** Who says HELLO for the applications: this client (default), or application controllers that know the uid. */
  readonly hello?: 'client' | 'controller' | undefined;
  /** How long the stream may take to become ready: ms, or text such as `30s`; default 30 s. */
  readonly wait?: number | string | undefined;
  /** Whether to check the hops before it counts as ready; default true. */
  readonly verify?: boolean | undefined;
}

/** What the inbound side should be. */
export interface InboundOptions extends SideOptions {
  /** Control server of the inbound side, where the producer is. */
  readonly from: ServerRef;
  /** Name of the gateway to use there, or a label of those to choose from; default: any. */
  readonly fromGateway?: string | undefined;
  /** Where the producer listens, as the inbound gateway reaches it. May be absent with `hello: 'controller'`. */
  readonly producer?: readonly (string | Address)[] | undefined;
}

/** What the outbound side should be. */
export interface OutboundOptions extends SideOptions {
  /** Control server of the outbound side, where consumers connect. */
  readonly to: ServerRef;
  /** As `fromGateway` of the inbound side. */
  readonly toGateway?: string | undefined;
}

/** What a stream with both its sides should be. */
export interface UpOptions extends InboundOptions, OutboundOptions {}

/** An inbound side that exists, as far as it is known: a ticket, or just its listeners. */
export type InboundSide = Pick<Ticket, 'listeners'> & Partial<Ticket>;

type GatewayOptions = Pick<InboundOptions, 'fromGateway'> & Pick<OutboundOptions, 'toGateway'>;

const gatewaysOf = ({ fromGateway = '', toGateway = '' }: GatewayOptions): Plan['gateways'] => ({
  inbound: fromGateway,
  outbound: toGateway,
});

/**
 * Parses options at the edge of the library.
 * @throws SCI_UID_INVALID, SCI_ADDRESS_INVALID, SCI_TARGETS_INVALID, SCI_CONNECTIONS_INVALID, SCI_RATE_INVALID,
 * SCI_DURATION_INVALID, SCI_PROXY_UNSUPPORTED (encryption of UDP)
 */
export function toPlan(options: SideOptions & GatewayOptions, producers: readonly (string | Address)[] = []): Plan {
  const producer = producers.map((address) =>
    parseAddress(typeof address === 'string' ? address : formatAddress(address), 'Producer'),
  );
  const { encryption = 'tls', transport = 'tcp', hello = 'client' } = options;
  const { connections = Math.max(1, producer.length) } = options;
  if (encryption === 'tls' && transport === 'udp') throw noEncryption();
  if (!Number.isSafeInteger(connections) || connections < 1) {
    throw new SciStreamError('SCI_CONNECTIONS_INVALID', `${connections} is not a valid number of connections.`, {
      suggestions: ['Give an integer of at least 1.'],
    });
  }
  return {
    uid: options.uid === undefined ? randomUUID() : parseUid(options.uid),
    name: options.name ?? '',
    producer,
    connections,
    bitsPerSecond: options.rate === undefined ? 0 : parseRate(String(options.rate)),
    lifetimeMs: options.lifetime === undefined ? 0 : milliseconds(options.lifetime),
    proxy: options.proxy ?? '',
    runtime: options.runtime ?? '',
    transport,
    gateways: gatewaysOf(options),
    movable: options.movable ?? false,
    encryption,
    hello,
    waitMs: Math.min(options.wait === undefined ? DEFAULT_WAIT_MS : milliseconds(options.wait), MAX_WAIT_MS),
  };
}

/** @throws SCI_TARGETS_INVALID when neither the options nor an application controller will say where the producer is. */
export function needsProducer({ producer, hello }: Plan): void {
  if (producer.length > 0 || hello === 'controller') return;
  throw new SciStreamError('SCI_TARGETS_INVALID', 'The stream has no producer.', {
    suggestions: ['Add --producer host:port (reachable from the inbound gateway) or --await-hello.'],
  });
}

const milliseconds = (value: number | string): number =>
  parseDuration(typeof value === 'number' ? `${value}ms` : value);

const noEncryption = (): SciStreamError =>
  new SciStreamError('SCI_PROXY_UNSUPPORTED', 'UDP between the gateways cannot be encrypted.', {
    suggestions: ['Add --encryption none, and encrypt confidential data in the application.'],
  });

/** What the outbound side should be like when the caller does not say. That it is not encrypted both sides have to say. */
export function fromTicket(inbound: InboundSide): SideOptions {
  const { name, connections, listeners, bitsPerSecond = 0, transport } = inbound;
  return {
    name,
    connections: connections ?? listeners.length,
    transport,
    ...(bitsPerSecond > 0 && { rate: bitsPerSecond }),
  };
}

/** @throws SCI_USAGE when one side would encrypt and the other would not */
export function mustAgree({ encryption }: Plan, { tls }: InboundSide): void {
  if ((encryption === 'tls') === (tls !== undefined)) return;
  const [what, suggestion] = tls
    ? ['The inbound side is encrypted', 'Remove --encryption none.']
    : [
        'The inbound side is not encrypted, or its credentials are unknown',
        'Use the ticket of an inbound side created with --encryption tls, or add --encryption none.',
      ];
  throw new SciStreamError('SCI_USAGE', `${what}; both sides must use the same encryption.`, {
    suggestions: [suggestion],
  });
}

/** Without the keys that are there but undefined, which would hide a default. */
export const defined = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;

/**
 * The inbound control server of a ticket: trusted by the certificate the ticket names. Never with a token of this user:
 * whoever wrote the ticket chose the server.
 */
export function peerEndpoint(s2cs: Address, fingerprint: string | undefined, trust: TrustSettings = {}): Endpoint {
  return resolveEndpoint(formatAddress(s2cs), {}, fingerprint ? { fingerprint } : { insecure: trust.insecure });
}
