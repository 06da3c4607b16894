import { Code, ConnectError } from '@connectrpc/connect';
import { formatAddress } from '../contracts/address.js';
import { printableLine, SciStreamError, toSciStreamError, type ErrorCode } from '../contracts/errors.js';
import { proxyFor } from '../contracts/http-proxy.js';
import { formatDuration } from '../contracts/units.js';
import { fromConnectError } from '../wire/errors.js';
import { unreachable } from './connection-errors.js';
import type { Endpoint } from './endpoint.js';

/** Error codes for a gRPC status without our code: from an older control server, or from an intermediary. */
const BY_STATUS: Partial<Record<Code, ErrorCode>> = {
  [Code.Unauthenticated]: 'SCI_UNAUTHENTICATED',
  [Code.PermissionDenied]: 'SCI_FORBIDDEN',
  [Code.NotFound]: 'SCI_STREAM_NOT_FOUND',
  [Code.AlreadyExists]: 'SCI_STREAM_EXISTS',
  [Code.ResourceExhausted]: 'SCI_LIMIT_REACHED',
  [Code.FailedPrecondition]: 'SCI_STREAM_STATE',
  [Code.InvalidArgument]: 'SCI_USAGE',
  [Code.DeadlineExceeded]: 'SCI_DEADLINE',
};

/** A failed call, for the text of its error. */
export interface FailedCall {
  readonly endpoint: Endpoint;
  /** Name of the RPC. */
  readonly rpc: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Converts the error of a call into a {@link SciStreamError}. Code, message and suggestions come from the server if it
 * sends them (trailing metadata `scistream-code`, detail ErrorInfo), otherwise from the connection or the status. If
 * the caller aborted the call, the reason of its signal is returned unchanged.
 */
export function fromRpcError(error: unknown, call: FailedCall): unknown {
  if (call.signal?.aborted) return call.signal.reason;
  if (!(error instanceof ConnectError)) return toSciStreamError(error);
  return wrapped(error) ?? fromConnectError(error) ?? guessed(error, call);
}

/** An error of this program that the transport has wrapped. */
function wrapped(error: ConnectError): SciStreamError | undefined {
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    if (SciStreamError.is(cause)) return cause;
  }
  return undefined;
}

function guessed(error: ConnectError, { endpoint, rpc, deadlineMs }: FailedCall): SciStreamError {
  const said = printableLine(error.rawMessage);
  const where = formatAddress(endpoint.address);
  if (error.code === Code.DeadlineExceeded) {
    const proxy = endpoint.trust.kind === 'plain' ? undefined : proxyFor(endpoint.address);
    const through = proxy ? ` through the proxy ${proxy.url.host} of ${proxy.variable}` : '';
    return new SciStreamError(
      'SCI_DEADLINE',
      `Control server ${where} did not answer ${rpc} within ${formatDuration(deadlineMs)}${through}.`,
      {
        cause: error,
        suggestions: [
          'Try again, or increase --wait.',
          ...(proxy ? [`If no proxy is needed for this server: NO_PROXY=${endpoint.address.host}`] : []),
        ],
      },
    );
  }
  if (error.code === Code.Unimplemented) {
    return new SciStreamError(
      'SCI_NOT_OFFERED',
      `Control server ${where} does not offer ${rpc}, because it has another version.`,
      {
        cause: error,
      },
    );
  }
  const code = BY_STATUS[error.code];
  if (code) return new SciStreamError(code, `${where}: ${said}`, { cause: error });
  const plain = endpoint.trust.kind === 'plain' ? [`Remove --insecure if ${where} uses TLS.`] : undefined;
  // The library names a code of HTTP/2, which says no more.
  const why = /^http\/2 stream closed/.test(said) ? 'it closed the connection' : said;
  return unreachable(endpoint, error.cause ?? error, why, plain);
}
