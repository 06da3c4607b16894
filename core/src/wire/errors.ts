import { ConnectError } from '@connectrpc/connect';
import { ERROR_CODES, SciStreamError, type ErrorCode } from '../contracts/errors.js';
import { ErrorInfoSchema, type ErrorInfo } from './gen/scistream/v1/streams_pb.js';

/** Key of the trailing metadata that carries our stable code (protocol.md §5). */
export const CODE_KEY = 'scistream-code';

/** Key of the trailing metadata that says when to repeat a call that was refused, ms (gRPC proposal A6). */
export const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/** Key of the metadata by which a data server knows its control server (data_server.proto). */
export const S2CS_KEY = 'scistream-s2cs';

/** What of an error travels. */
export type ErrorFacts = Pick<SciStreamError, 'code' | 'message' | 'suggestions'>;

/** An error as a message. */
export function errorInfo({ code, message, suggestions }: ErrorFacts): {
  code: string;
  message: string;
  suggestions: string[];
} {
  return { code, message, suggestions: [...suggestions] };
}

/** The inverse of {@link errorInfo}; what cannot be read is SCI_BUG. Foreign text is made printable. */
export function fromErrorInfo(info: ErrorInfo | undefined): ErrorFacts {
  const code = info && isErrorCode(info.code) ? info.code : 'SCI_BUG';
  return { code, message: printable(info?.message ?? ''), suggestions: (info?.suggestions ?? []).map(printable) };
}

/** An error as a gRPC status with our code in the trailing metadata and everything in a detail. */
export function toConnectError(error: ErrorFacts): ConnectError {
  const { code, message } = error;
  const detail = { desc: ErrorInfoSchema, value: errorInfo(error) };
  return new ConnectError(message, ERROR_CODES[code].grpc, { [CODE_KEY]: code }, [detail]);
}

/** The inverse of {@link toConnectError}; undefined when the status is not one of ours. */
export function fromConnectError(error: ConnectError): SciStreamError | undefined {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const code = error.metadata.get(CODE_KEY) ?? info?.code ?? '';
  if (!isErrorCode(code)) return undefined;
  const suggestions = (info?.suggestions ?? []).map(printable);
  return new SciStreamError(code, printable(info?.message || error.rawMessage), { cause: error, suggestions });
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);

/** {@link printable} on one line, for names and other fields that are no text. */
export const printableLine = (text: string): string => printable(text.replaceAll('\n', ' '));

/** Foreign text must not steer a terminal or break a log line; the lines of a proxy's log stay lines. */
export const printable = (text: string): string => text.replace(/(?!\n)[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
