/**
 * The one error type of SciStream and the table of its codes. Codes are interface: they never change meaning and a
 * retired one is never used again. Texts may change. Every code is described in docs/reference/errors.md.
 */

interface CodeEntry {
  /** Exit code of a command that fails with it. */
  readonly exit: number;
  /** gRPC status it travels as (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
  readonly grpc: number;
  /** What it means, for the reference. */
  readonly meaning: string;
}

const usage = (meaning: string): CodeEntry => ({ exit: 2, grpc: 3, meaning });
const plugin = (meaning: string): CodeEntry => ({ exit: 3, grpc: 9, meaning });
const stream = (grpc: number, meaning: string): CodeEntry => ({ exit: 4, grpc, meaning });
const proxy = (grpc: number, meaning: string): CodeEntry => ({ exit: 5, grpc, meaning });
const auth = (grpc: number, meaning: string): CodeEntry => ({ exit: 6, grpc, meaning });
const control = (grpc: number, meaning: string): CodeEntry => ({ exit: 7, grpc, meaning });

/** All codes; add at the end of a family, then run `npm run docs`. */
export const ERROR_CODES = {
  SCI_USAGE: usage('The command line is wrong.'),
  SCI_CONFIG_NOT_FOUND: usage('The configuration file does not exist or cannot be read.'),
  SCI_CONFIG_EMPTY: usage('The configuration file is empty.'),
  SCI_CONFIG_SYNTAX: usage('The configuration file is not valid YAML or JSON.'),
  SCI_CONFIG_INVALID: usage('A key or value of the configuration is wrong.'),
  SCI_CONFIG_FIXED: usage('A key of the configuration has changed that cannot change while the daemon runs.'),
  SCI_ADDRESS_INVALID: usage('Text that should be host:port is not.'),
  SCI_PORT_RANGE_INVALID: usage('A port range is reversed, empty or outside 1-65535.'),
  SCI_UID_INVALID: usage('A uid is not 8 to 64 characters of A-Z, a-z, 0-9 and "-".'),
  SCI_NAME_INVALID: usage('A stream name has characters it must not have, or is too long.'),
  SCI_ROLE_INVALID: usage('A role is neither PROD nor CONS.'),
  SCI_CONNECTIONS_INVALID: usage('The number of connections (num_conn) is outside what the control server allows.'),
  SCI_RATE_INVALID: usage('A rate is not a positive number of bit/s.'),
  SCI_DURATION_INVALID: usage('A duration is not understood.'),
  SCI_LIFETIME_INVALID: usage('A lifetime is longer than the control server allows.'),
  SCI_TARGETS_INVALID: usage('The list of targets is empty or too long.'),
  SCI_TICKET_INVALID: usage('A ticket is damaged, of another version, or expired.'),
  SCI_FACILITY_UNKNOWN: usage('A facility is neither in the configuration nor host:port.'),
  SCI_CREDENTIALS_INVALID: usage(
    'The certificates and keys for the encryption of a stream are damaged, do not belong together, or are not valid now.',
  ),
  SCI_CERTIFICATE_INVALID: usage('A file with a certificate or its key cannot be used.'),
  SCI_CONFIG_UNTRUSTED: usage(
    'Somebody else could have written the configuration file of the working directory, and nobody has named it.',
  ),

  SCI_PLUGIN_NOT_FOUND: plugin('A plugin is not installed, or nothing installed provides what was asked for.'),
  SCI_PLUGIN_NO_MANIFEST: plugin('A package has no "scistream" key in its package.json.'),
  SCI_PLUGIN_MANIFEST_INVALID: plugin('The "scistream" key of a package has a wrong field.'),
  SCI_PLUGIN_API_UNSUPPORTED: plugin('A plugin is made for another version of the plugin interface.'),
  SCI_PLUGIN_CORE_MISMATCH: plugin('A plugin asks for another version of @scistream/core.'),
  SCI_PLUGIN_DUPLICATE: plugin('Two plugins provide the same thing under the same name.'),
  SCI_PLUGIN_LOAD_FAILED: plugin('The code of a plugin could not be loaded.'),
  SCI_PLUGIN_SHAPE: plugin('The default export of a plugin is not what its manifest promises.'),
  SCI_PLUGIN_OPTIONS_INVALID: plugin('The options of a plugin in the configuration are wrong.'),
  SCI_PLUGIN_INSTALL_FAILED: plugin('npm could not install, update or remove a plugin.'),

  SCI_STREAM_EXISTS: stream(6, 'The uid is in use already.'),
  SCI_STREAM_NOT_FOUND: stream(5, 'No stream has this uid or name.'),
  SCI_STREAM_AMBIGUOUS: stream(3, 'More than one stream fits the given prefix or name.'),
  SCI_STREAM_STATE: stream(9, 'The stream is not in a state in which this can be done.'),
  SCI_STREAM_CONFLICT: stream(10, 'The record of the stream was changed by somebody else meanwhile.'),
  SCI_STREAM_FAILED: stream(9, 'The stream has failed; its status tells why.'),
  SCI_STREAM_RELEASED: stream(1, 'The stream was released while a call waited for it.'),
  SCI_HELLO_TIMEOUT: stream(4, 'No HELLO came in time; everything was released.'),
  SCI_CLIENT_GONE: stream(1, 'The client went away while its request waited; everything was released.'),
  SCI_LIMIT_REACHED: stream(8, 'The control server has as many streams, waiting requests or watches as it allows.'),
  SCI_PORTS_EXHAUSTED: stream(8, 'The port range of the gateway has not enough free ports.'),
  SCI_NO_RESOURCE: stream(8, 'No gateway that takes new streams has the bandwidth that was asked for.'),
  SCI_TARGET_UNRESOLVED: stream(9, 'The host name of a target cannot be resolved on the gateway.'),
  SCI_VERIFY_FAILED: stream(9, 'A hop of the stream does not work.'),

  SCI_PROXY_UNKNOWN: proxy(3, 'No proxy of this name is available.'),
  SCI_RUNTIME_UNKNOWN: proxy(3, 'No runtime of this name is available.'),
  SCI_PROXY_UNSUPPORTED: proxy(12, 'The proxy cannot do what was asked for, such as UDP.'),
  SCI_PROXY_CONFIG_INVALID: proxy(13, "The proxy's own checker refused its configuration."),
  SCI_PROXY_NOT_READY: proxy(14, 'The proxy did not start or did not answer in time.'),
  SCI_PROXY_DIED: proxy(14, 'The proxy ended by itself or was killed.'),
  SCI_PROXY_COMMAND_FAILED: proxy(13, 'The proxy refused a command at run time.'),
  SCI_EXECUTABLE_NOT_FOUND: proxy(14, 'The program of a proxy is not installed on the gateway.'),
  SCI_RUNTIME_UNREACHABLE: proxy(14, 'The runtime does not answer.'),
  SCI_RUNTIME_FAILED: proxy(13, 'The runtime could not do what it was asked for.'),
  SCI_CONTAINER_CONFLICT: proxy(6, 'An instance of this name exists and is not ours to touch.'),
  SCI_PORT_TAKEN: proxy(14, 'A port that was reserved was taken by somebody else.'),
  SCI_IMAGE_NOT_FOUND: proxy(
    9,
    'The image of a proxy is neither on the machine nor in a registry that can be reached.',
  ),
  SCI_LISTENER_ADDRESS: proxy(9, 'The address the gateway should listen on does not exist on this machine.'),

  SCI_UNAUTHENTICATED: auth(16, 'The caller could not prove who it is.'),
  SCI_FORBIDDEN: auth(7, 'The caller may not do this.'),
  SCI_TOKEN_MISSING: auth(16, 'No token came with the call.'),
  SCI_TOKEN_MALFORMED: auth(16, 'The token is not of the kind that the control server takes, or lacks a claim.'),
  SCI_TOKEN_EXPIRED: auth(16, 'The token has expired.'),
  SCI_TOKEN_NOT_YET_VALID: auth(16, 'The token is not valid yet.'),
  SCI_TOKEN_ISSUER: auth(16, 'The token is of another issuer than the one the control server trusts.'),
  SCI_TOKEN_AUDIENCE: auth(16, 'The token is meant for another audience.'),
  SCI_TOKEN_SIGNATURE: auth(16, 'The signature of the token is wrong, of an unknown key, or of a refused algorithm.'),
  SCI_TOKEN_INACTIVE: auth(16, 'The issuer says that the token was revoked or is not one of its own.'),
  SCI_TOKEN_SCOPE: auth(7, 'The token lacks a scope that the control server asks for.'),
  SCI_LOGIN_REQUIRED: auth(16, 'There is no login for the facility, or it cannot be renewed any more.'),
  SCI_LOGIN_FAILED: auth(16, 'The issuer did not complete the login: refused, expired, or misconfigured.'),
  SCI_ENCRYPTION_REQUIRED: auth(7, 'This facility serves no streams without encryption between the gateways.'),
  SCI_CERTIFICATE_MISSING: auth(16, 'The server wants a client certificate, and none was shown.'),
  SCI_CERTIFICATE_UNTRUSTED: auth(16, 'The client certificate is not one that the server accepts.'),
  SCI_CERTIFICATE_EXPIRED: auth(16, 'The client certificate has expired.'),
  SCI_CERTIFICATE_REVOKED: auth(16, 'The operator of the server has revoked the client certificate.'),

  SCI_S2CS_UNREACHABLE: control(14, 'The control server does not answer.'),
  SCI_S2DS_UNREACHABLE: control(14, 'The data server does not answer.'),
  SCI_ISSUER_UNREACHABLE: control(14, 'The issuer of tokens does not answer as it should; try again.'),
  SCI_TLS_UNTRUSTED: control(14, "The control server's certificate is not trusted."),
  SCI_DEADLINE: control(4, 'The answer did not come in time.'),
  SCI_SHUTTING_DOWN: control(14, 'The control server is stopping.'),
  SCI_LISTEN_FAILED: control(14, 'The daemon could not listen on its address.'),
  SCI_STATE_LOCKED: control(9, 'Another daemon uses the same state directory.'),
  SCI_STATE_DAMAGED: control(15, 'What a daemon stored in its state directory cannot be read.'),
  SCI_STATE_NEWER: control(9, 'A newer SciStream wrote the state directory.'),
  SCI_STATE_WRITE: control(14, 'The daemon cannot write to its state directory, so the change was not made.'),
  SCI_AUDIT_WRITE: control(14, 'A decision could not be written to the audit log, so what was asked for was not done.'),

  SCI_RATE_LIMITED: control(8, 'The caller makes more requests than it may; the answer says when to try again.'),

  SCI_BUG: { exit: 70, grpc: 13, meaning: 'A defect in SciStream. Please report it with the log.' },
} as const satisfies Record<string, CodeEntry>;

/** A code of the table. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Optional parts of an error. */
export interface ErrorDetails {
  /** Actions, each with an exact command or configuration key. */
  readonly suggestions?: readonly string[];
  /** The error that caused this one. */
  readonly cause?: unknown;
}

const brand = Symbol.for('scistream.error');

/** Path of the section in the reference that describes a code. */
export const errorReference = (code: ErrorCode): string => `docs/reference/errors.md#${code.toLowerCase()}`;

/**
 * The error of all public functions of SciStream. Test for it with {@link SciStreamError.is}, not with `instanceof`: a
 * plugin may load its own copy of this package.
 */
export class SciStreamError extends Error {
  readonly code: ErrorCode;
  /** Actions, each with an exact command or configuration key. */
  readonly suggestions: readonly string[];
  /** Path of the section in the reference that describes the code. */
  readonly ref: string;
  /** Exit code, in the form that oclif reads. */
  readonly oclif: { readonly exit: number };

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(printable(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.suggestions = (details.suggestions ?? []).map(printable);
    this.ref = errorReference(code);
    this.oclif = { exit: ERROR_CODES[code].exit };
    Object.defineProperty(this, brand, { value: true });
  }

  /** Returns true for an error of this class, from this or another copy of the package. */
  static is(error: unknown): error is SciStreamError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[brand] === true;
  }

  /** The form of an error in the output of `--json` and in stored records. */
  toJSON(): { code: ErrorCode; message: string; suggestions: readonly string[]; ref: string } {
    return { code: this.code, message: this.message, suggestions: this.suggestions, ref: this.ref };
  }
}

/** An error of a data server, a proxy or a runtime. */
export class S2DSException extends SciStreamError {}

/**
 * Converts any thrown value into a {@link SciStreamError}. Other values become SCI_BUG with the original as the cause.
 * Only for the outermost callers: RPC handlers and commands.
 */
export function toSciStreamError(error: unknown): SciStreamError {
  if (SciStreamError.is(error)) return error;
  return new SciStreamError('SCI_BUG', `Unexpected error: ${messageOf(error)}`, {
    cause: error,
    suggestions: ['Report this defect with the log of the command or daemon.'],
  });
}

/** Returns the message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The text of the innermost cause: libraries wrap the error of the network or the disk in one of their own. */
export function reasonOf(error: unknown): string {
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  return messageOf(innermost);
}

/** The `code` of a Node.js system error such as ENOENT, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Quotes an untrusted value for a message: at most 80 characters, without control characters. */
export function quote(value: unknown): string {
  // JSON leaves some of what steers a terminal as it is: C1 controls, and marks that turn the direction around.
  const text = printable(json(value));
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

/**
 * Escapes control and format characters, which could control a terminal or forge a line of a log; keeps line breaks.
 * Every {@link SciStreamError} applies it to its message and suggestions.
 */
export function printable(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Cf}\u2028\u2029]/gu, (one) => `\\u{${one.codePointAt(0)?.toString(16)}}`);
}

/** {@link printable} on one line, for names and other short fields. */
export const printableLine = (text: string): string => printable(text.replaceAll('\n', ' '));

/** What JSON cannot say (a bigint, a circle) in the words of JavaScript. */
function json(value: unknown): string {
  try {
    return JSON.stringify(value ?? null) ?? typeof value;
  } catch {
    return typeof value;
  }
}
