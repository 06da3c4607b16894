import { ConnectError } from '@connectrpc/connect';
import { ERROR_CODES, printableLine, SciStreamError, type ErrorCode } from '../contracts/errors.js';
import { ErrorInfoSchema, type ErrorInfo } from './gen/scistream/v1/streams_pb.js';

/** Key of the trailing metadata with our stable code (protocol.md §5). */
export const CODE_KEY = 'scistream-code';

/** Key of the trailing metadata with the time after which a rejected call may be retried, ms (gRPC proposal A6). */
export const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/** Key of the metadata that identifies the control server to a data server (gateway.proto). */
export const S2CS_KEY = 'scistream-s2cs';

/** The transmitted part of an error. */
export type ErrorFacts = Pick<SciStreamError, 'code' | 'message' | 'suggestions'>;

/** An error as a message. */
export function errorInfo({ code, message, suggestions }: ErrorFacts): {
  code: string;
  message: string;
  suggestions: string[];
} {
  return { code, message, suggestions: [...suggestions] };
}

/** The inverse of {@link errorInfo}; an unknown code becomes SCI_BUG. */
export function fromErrorInfo(info: ErrorInfo | undefined): ErrorFacts {
  const code = info && isErrorCode(info.code) ? info.code : 'SCI_BUG';
  return {
    code,
    message: printableLine(info?.message ?? ''),
    suggestions: (info?.suggestions ?? []).map(printableLine),
  };
}

/** An error as a gRPC status, with our code in the trailing metadata and all of it in a detail. */
export function toConnectError(error: ErrorFacts): ConnectError {
  const { code, message } = error;
  const detail = { desc: ErrorInfoSchema, value: errorInfo(error) };
  return new ConnectError(message, ERROR_CODES[code].grpc, { [CODE_KEY]: code }, [detail]);
}

/** The inverse of {@link toConnectError}, with printable texts of one line; undefined for a status without our code. */
export function fromConnectError(error: ConnectError): SciStreamError | undefined {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const code = error.metadata.get(CODE_KEY) ?? info?.code ?? '';
  if (!isErrorCode(code)) return undefined;
  const suggestions = (info?.suggestions ?? []).map(printableLine);
  return new SciStreamError(code, printableLine(info?.message || error.rawMessage), { cause: error, suggestions });
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);
