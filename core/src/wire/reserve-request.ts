import type { MessageInitShape } from '@bufbuild/protobuf';
import { parseTransport } from '../contracts/address.js';
import { parseCredentials } from '../contracts/credentials.js';
import type { ReserveRequest } from '../contracts/gateway.js';
import { parseSources } from '../contracts/network.js';
import { parseRole, parseUid } from '../contracts/stream.js';
import type { ReserveRequest as Message, ReserveRequestSchema } from './gen/scistream/v1/gateway_pb.js';

/** What a control server wants of a gateway as a message. Holds credentials. */
export function reserveMessage(request: ReserveRequest): MessageInitShape<typeof ReserveRequestSchema> {
  return { ...request, sources: [...(request.sources ?? [])], bitsPerSecond: BigInt(request.bitsPerSecond) };
}

/** The inverse of {@link reserveMessage}, parsed. @throws SCI_UID_INVALID, SCI_ROLE_INVALID, SCI_CREDENTIALS_INVALID … */
export function fromReserveMessage(message: Message): ReserveRequest {
  const { uid, role, transport, count, proxy, runtime, bitsPerSecond, tls, sources } = message;
  return {
    uid: parseUid(uid),
    count,
    proxy,
    runtime,
    bitsPerSecond: Number(bitsPerSecond),
    role: parseRole(role),
    transport: parseTransport(transport),
    ...(tls && { tls: parseCredentials(tls) }),
    ...(sources.length > 0 && { sources: parseSources(sources) }),
  };
}
