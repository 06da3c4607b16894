import { Code, ConnectError } from '@connectrpc/connect';
import { formatAddress } from '../contracts/address.js';
import { SciStreamError, toSciStreamError, type ErrorCode } from '../contracts/errors.js';
import { fromConnectError, printable } from '../wire/errors.js';
import type { Endpoint } from './endpoint.js';
import { unreachable } from './sessions.js';

/** What a status means when the server gives no code of ours: an older control server, or something in between. */
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

/** A call that went wrong, for the message. */
export interface FailedCall {
  readonly endpoint: Endpoint;
  /** Name of the RPC. */
  readonly rpc: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Turns what a call threw into a {@link SciStreamError}: the server's own code, message and suggestions where it sent them
 * (trailing metadata `scistream-code`, detail ErrorInfo), otherwise what the connection or the status tells. An abort by
 * the caller stays what the caller gave as its reason.
 */
export function fromRpcError(error: unknown, call: FailedCall): unknown {
  if (call.signal?.aborted) return call.signal.reason;
  if (!(error instanceof ConnectError)) return toSciStreamError(error);
  return ours(error) ?? fromConnectError(error) ?? guessed(error, call);
}

/** An error of this program on its way through the transport. */
function ours(error: ConnectError): SciStreamError | undefined {
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    if (SciStreamError.is(cause)) return cause;
  }
  return undefined;
}

function guessed(error: ConnectError, { endpoint, rpc, deadlineMs }: FailedCall): SciStreamError {
  const where = formatAddress(endpoint.address);
  if (error.code === Code.DeadlineExceeded) {
    return new SciStreamError(
      'SCI_DEADLINE',
      `Control server ${where} did not answer ${rpc} within ${deadlineMs} ms.`,
      {
        cause: error,
        suggestions: ['Try again, or increase the timeout: --wait 60s'],
      },
    );
  }
  if (error.code === Code.Unimplemented) {
    return new SciStreamError(
      'SCI_PROXY_UNSUPPORTED',
      `Control server ${where} does not support ${rpc}; it runs another version.`,
      {
        cause: error,
      },
    );
  }
  const code = BY_STATUS[error.code];
  if (code) return new SciStreamError(code, `${where}: ${printable(error.rawMessage)}`, { cause: error });
  const plain = endpoint.trust.kind === 'plain' ? [`Remove --insecure if ${where} uses TLS.`] : undefined;
  return unreachable(endpoint, error.cause ?? error, printable(error.rawMessage), plain);
}
