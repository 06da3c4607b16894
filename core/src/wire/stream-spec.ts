import type { MessageInitShape } from '@bufbuild/protobuf';
import { parseTransport } from '../contracts/address.js';
import { parseCredentials } from '../contracts/credentials.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import { parseSources } from '../contracts/network.js';
import { parseUid, ROLE_CODES, type Role, type StreamSpec, type StreamTls } from '../contracts/stream.js';
import type { ReserveRequest, ReserveRequestSchema, StreamSpec as SpecMessage } from './gen/scistream/v1/gateway_pb.js';

/** Parses a role of the protocol. @throws SCI_ROLE_INVALID unless it is exactly PROD or CONS (protocol.md §2) */
export function parseRole(text: string): Role {
  if (text === ROLE_CODES.inbound) return 'inbound';
  if (text === ROLE_CODES.outbound) return 'outbound';
  throw new SciStreamError('SCI_ROLE_INVALID', `Role ${quote(text)} is neither PROD nor CONS.`, {
    suggestions: ['Use PROD for the side of the producer, CONS for the side of the consumers.'],
  });
}

/** A reservation on a gateway as a message. Contains credentials. */
export function reserveMessage(
  uid: string,
  spec: StreamSpec,
  tls: StreamTls | undefined,
): MessageInitShape<typeof ReserveRequestSchema> {
  const numbers = { bitsPerSecond: BigInt(spec.bitsPerSecond), lifetimeMs: BigInt(spec.lifetimeMs) };
  const message = { ...spec, ...numbers, role: ROLE_CODES[spec.role], ...sourcesOf(spec) };
  return { uid, spec: message, ...(tls && { tls }) };
}

const sourcesOf = ({ sources = [], peerSources = [] }: StreamSpec) => ({
  sources: [...sources],
  peerSources: [...peerSources],
});

/** The inverse of {@link reserveMessage}. @throws SCI_UID_INVALID, SCI_ROLE_INVALID, SCI_CREDENTIALS_INVALID … */
export function fromReserveMessage({ uid, spec, tls }: ReserveRequest): {
  readonly uid: string;
  readonly spec: StreamSpec;
  readonly tls?: StreamTls;
} {
  if (!spec) throw new SciStreamError('SCI_USAGE', `The reservation of stream ${quote(uid)} has no spec.`);
  // An encrypted stream without credentials would run in plain text.
  if ((spec.encryption === 'tls') !== (tls !== undefined)) {
    throw new SciStreamError(
      'SCI_CREDENTIALS_INVALID',
      `The reservation of stream ${quote(uid)} has encryption ${quote(spec.encryption)} and ${tls ? '' : 'no '}credentials.`,
    );
  }
  return { uid: parseUid(uid), spec: fromSpecMessage(spec), ...(tls && { tls: parseCredentials(tls) }) };
}

function fromSpecMessage(message: SpecMessage): StreamSpec {
  const { name, role, transport, connections, bitsPerSecond, lifetimeMs, encryption } = message;
  const { gateway, proxy, runtime, sources, peerSources, movable } = message;
  return {
    name,
    role: parseRole(role),
    transport: parseTransport(transport),
    connections: parseConnections(connections),
    bitsPerSecond: Number(bitsPerSecond),
    lifetimeMs: Number(lifetimeMs),
    encryption: encryption === 'tls' ? 'tls' : 'none',
    gateway,
    proxy,
    runtime,
    ...(sources.length > 0 && { sources: parseSources(sources) }),
    ...(peerSources.length > 0 && { peerSources: parseSources(peerSources) }),
    ...(movable && { movable }),
  };
}

function parseConnections(connections: number): number {
  if (connections >= 1) return connections;
  throw new SciStreamError('SCI_CONNECTIONS_INVALID', `A stream needs at least one connection, not ${connections}.`);
}
