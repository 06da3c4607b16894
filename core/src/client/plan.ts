import { randomUUID } from 'node:crypto';
import { formatAddress, parseAddress, type Address, type Transport } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import { parseSources } from '../contracts/network.js';
import { parseUid } from '../contracts/stream.js';
import { parseDuration, parseRate } from '../contracts/units.js';
import type { Endpoint } from './endpoint.js';

/** Maximum of `waitMs`: above the maximum lifetime of a stream, and below 2^31 ms, the limit of a timer. */
const MAX_WAIT_MS = 20 * 86_400_000;

/** A control server: the name of a facility in the configuration, `host:port[#sha256:…]`, or an endpoint. */
export type ServerRef = string | Endpoint;

/** What to request for one side of a stream. */
export interface SidePlan {
  /** Default: a new UUID. */
  readonly uid?: string | undefined;
  readonly name?: string | undefined;
  /** Number of listeners, from 1; default: one for each producer address. */
  readonly connections?: number | undefined;
  /** Rate to reserve, bit/s; default 0: none. */
  readonly bitsPerSecond?: number | undefined;
  /** ms; default 0: the limit of the control server. */
  readonly lifetimeMs?: number | undefined;
  /** Default: empty, the proxy that the gateway prefers. */
  readonly proxy?: string | undefined;
  /** Default: empty, the runtime that the gateway prefers. */
  readonly runtime?: string | undefined;
  /** Default `tcp`. */
  readonly transport?: Transport | undefined;
  /** Whether the listeners may change, so that an operator can move the stream to another gateway; default false. */
  readonly movable?: boolean | undefined;
  /**
   * Networks from which the inbound listeners accept connections; empty: all. Default `peer`: those that the gateways of the
   * outbound side report, and all if one of them reports none.
   */
  readonly sources?: 'peer' | readonly string[] | undefined;
  /** Encryption between the gateways; default `tls`, with credentials that are created for this stream only. */
  readonly encryption?: 'tls' | 'none' | undefined;
  /** Sender of HELLO: this client (default), or the application controllers, which know the uid. */
  readonly hello?: 'client' | 'controller' | undefined;
  /** Maximum time until the stream is ready, ms; default 30 s, with `hello: 'controller'` 200 s. */
  readonly waitMs?: number | undefined;
  /**
   * Whether to check every hop before the stream counts as ready; default true. `report`: one check, whose result is
   * part of the handle and never an error.
   */
  readonly verify?: boolean | 'report' | undefined;
}

/** What to request for the inbound side. */
export interface InboundPlan extends SidePlan {
  /** Control server of the inbound side, at the facility of the producer. */
  readonly from: ServerRef;
  /** Name of a gateway there, or a label that several gateways share; default: any gateway. */
  readonly fromGateway?: string | undefined;
  /** Addresses of the producer, as the inbound gateway reaches them. Optional with `hello: 'controller'`. */
  readonly producer?: readonly (string | Address)[] | undefined;
}

/** What to request for the outbound side. */
export interface OutboundPlan extends SidePlan {
  /** Control server of the outbound side, where consumers connect. */
  readonly to: ServerRef;
  /** Name of a gateway there, or a label that several gateways share; default: any gateway. */
  readonly toGateway?: string | undefined;
}

/** What to request from which facility, for a stream with both sides. */
export interface StreamPlan extends InboundPlan, OutboundPlan {}

type Requested = SidePlan & Pick<InboundPlan, 'fromGateway' | 'producer'> & Pick<OutboundPlan, 'toGateway'>;

/** A {@link StreamPlan} without its control servers, checked and with every default filled in. */
export type Plan = { readonly [K in keyof Required<Requested>]: NonNullable<Requested[K]> } & {
  readonly producer: readonly Address[];
};

/** Default of `waitMs`, ms. */
const WAIT_MS = 30_000;
/** The default with application controllers, ms: above the 180 s that control servers wait for HELLO (protocol.md §2). */
const CONTROLLER_WAIT_MS = 200_000;

const DEFAULTS = {
  name: '',
  bitsPerSecond: 0,
  lifetimeMs: 0,
  proxy: '',
  runtime: '',
  transport: 'tcp',
  fromGateway: '',
  toGateway: '',
  movable: false,
  sources: 'peer',
  encryption: 'tls',
  hello: 'client',
  verify: true,
} as const;

/**
 * Checks a plan and fills in its defaults.
 * @throws SCI_UID_INVALID, SCI_ADDRESS_INVALID, SCI_CONNECTIONS_INVALID, SCI_RATE_INVALID, SCI_DURATION_INVALID,
 * SCI_PROXY_UNSUPPORTED (encryption of UDP)
 */
export function toPlan(requested: Requested): Plan {
  const plan = { ...DEFAULTS, ...defined(requested) };
  const producer = (plan.producer ?? []).map((address) =>
    parseAddress(typeof address === 'string' ? address : formatAddress(address), 'Producer'),
  );
  const { connections = Math.max(1, producer.length), bitsPerSecond, lifetimeMs } = plan;
  const { waitMs = plan.hello === 'controller' ? CONTROLLER_WAIT_MS : WAIT_MS } = plan;
  if (plan.encryption === 'tls' && plan.transport === 'udp') throw noEncryption();
  if (!Number.isSafeInteger(connections) || connections < 1) {
    throw new SciStreamError('SCI_CONNECTIONS_INVALID', `${connections} is not a valid number of connections.`, {
      suggestions: ['Use a whole number of at least 1.'],
    });
  }
  return {
    ...plan,
    uid: plan.uid === undefined ? randomUUID() : parseUid(plan.uid),
    producer,
    connections,
    bitsPerSecond: bitsPerSecond === 0 ? 0 : parseRate(String(bitsPerSecond)),
    lifetimeMs: lifetimeMs === 0 ? 0 : milliseconds(lifetimeMs),
    waitMs: Math.min(milliseconds(waitMs), MAX_WAIT_MS),
    sources: plan.sources === 'peer' ? plan.sources : parseSources(plan.sources),
  };
}

const milliseconds = (value: number): number => parseDuration(`${value}ms`);

const noEncryption = (): SciStreamError =>
  new SciStreamError('SCI_PROXY_UNSUPPORTED', 'UDP between the gateways cannot be encrypted.', {
    suggestions: ['Add --encryption none. If the data needs protection, encrypt it in the application.'],
  });

/** @throws SCI_TARGETS_INVALID when neither the plan nor an application controller provides the producer. */
export function needsProducer({ producer, hello }: Plan): void {
  if (producer.length > 0 || hello === 'controller') return;
  throw new SciStreamError('SCI_TARGETS_INVALID', 'The stream has no producer.', {
    suggestions: ['Add --producer host:port, an address that the inbound gateway can reach. Or add --await-hello.'],
  });
}

/** The object without keys whose value is undefined, which would hide a default. */
export const defined = <T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

/** Checks that the sides of a stream have two control servers. @throws SCI_USAGE */
export function mustDiffer(from: Address, to: Address): void {
  const where = formatAddress(from);
  if (where !== formatAddress(to)) return;
  throw new SciStreamError('SCI_USAGE', `Both sides of the stream use the same control server, ${where}.`, {
    suggestions: ['Run one control server for each side. A uid can exist only once on a control server.'],
  });
}
