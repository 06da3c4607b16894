/**
 * The error type of SciStream and the table of its codes. Codes are part of the interface: they never change their meaning
 * and are never reused. Message texts may change. docs/reference/errors.md describes every code.
 */

interface CodeEntry {
  /** Exit code of a command that fails with this error. */
  readonly exit: number;
  /** gRPC status on the wire (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
  readonly grpc: number;
  /** Meaning of the code, one sentence for the reference. */
  readonly meaning: string;
}

const usage = (meaning: string): CodeEntry => ({ exit: 2, grpc: 3, meaning });
const plugin = (meaning: string): CodeEntry => ({ exit: 3, grpc: 9, meaning });
const stream = (grpc: number, meaning: string): CodeEntry => ({ exit: 4, grpc, meaning });
const proxy = (grpc: number, meaning: string): CodeEntry => ({ exit: 5, grpc, meaning });
const auth = (grpc: number, meaning: string): CodeEntry => ({ exit: 6, grpc, meaning });
const control = (grpc: number, meaning: string): CodeEntry => ({ exit: 7, grpc, meaning });

/** All codes. Add new codes at the end of a family, then run `npm run docs`. */
export const ERROR_CODES = {
  SCI_USAGE: usage('The command line is invalid.'),
  SCI_CONFIG_NOT_FOUND: usage('The configuration file does not exist or is not readable.'),
  SCI_CONFIG_EMPTY: usage('The configuration file is empty.'),
  SCI_CONFIG_SYNTAX: usage('The configuration file is not valid YAML or JSON.'),
  SCI_CONFIG_INVALID: usage('A key or value of the configuration is invalid.'),
  SCI_CONFIG_FIXED: usage('A reloaded configuration changes a key that cannot change while the daemon runs.'),
  SCI_ADDRESS_INVALID: usage('An address is not of the form host:port.'),
  SCI_PORT_RANGE_INVALID: usage('A port range is reversed, empty or outside 1-65535.'),
  SCI_UID_INVALID: usage('A uid is not 8 to 64 characters of A-Z, a-z, 0-9 and "-".'),
  SCI_NAME_INVALID: usage('A name is unknown, too long, or contains invalid characters.'),
  SCI_ROLE_INVALID: usage('A role is neither PROD nor CONS.'),
  SCI_CONNECTIONS_INVALID: usage('The number of connections is outside the limits of the control server.'),
  SCI_RATE_INVALID: usage('A rate is not a number of bit/s, or is outside 1 to 1e15 bit/s.'),
  SCI_DURATION_INVALID: usage('A duration is not valid, such as 90s, 30m or 8h.'),
  SCI_LIFETIME_INVALID: usage('A lifetime exceeds the limit of the control server.'),
  SCI_TARGETS_INVALID: usage('The list of targets is empty, too long, or leads back to the facility.'),
  SCI_TICKET_INVALID: usage('A ticket is damaged, expired, or of another version.'),
  SCI_FACILITY_UNKNOWN: usage('A facility is neither configured nor of the form host:port.'),
  SCI_CREDENTIALS_INVALID: usage(
    'The certificates and keys of a stream are damaged, do not match, or are not valid now.',
  ),
  SCI_CERTIFICATE_INVALID: usage('A certificate file or key file is not usable.'),
  SCI_CONFIG_UNTRUSTED: usage(
    'Other users can write the configuration file in the working directory, and --config does not name it.',
  ),
  SCI_FILE_UNTRUSTED: usage(
    'Other users can change a file or directory that the program relies on, or read a secret file.',
  ),

  SCI_PLUGIN_NOT_FOUND: plugin(
    'A plugin is not installed, or no installed plugin provides the requested proxy, runtime or authenticator.',
  ),
  SCI_PLUGIN_NO_MANIFEST: plugin('A package has no "scistream" key in its package.json.'),
  SCI_PLUGIN_MANIFEST_INVALID: plugin('The "scistream" key of a package has an invalid field.'),
  SCI_PLUGIN_API_UNSUPPORTED: plugin('A plugin requires another version of the plugin interface.'),
  SCI_PLUGIN_CORE_MISMATCH: plugin('A plugin requires another version of @scistream/core.'),
  SCI_PLUGIN_DUPLICATE: plugin('Two plugins provide a proxy, runtime or authenticator of the same name.'),
  SCI_PLUGIN_LOAD_FAILED: plugin('The code of a plugin failed to load.'),
  SCI_PLUGIN_SHAPE: plugin('The default export of a plugin does not match its manifest.'),
  SCI_PLUGIN_OPTIONS_INVALID: plugin('The configured options of a plugin are invalid.'),
  SCI_PLUGIN_INSTALL_FAILED: plugin('npm failed to install, update or remove a plugin.'),
  SCI_PLUGIN_CHANGED: plugin('The files of the installed plugins are not those that were installed.'),
  SCI_PLUGIN_FAILED: plugin('The code of a plugin failed, or did not return within its deadline.'),

  SCI_STREAM_EXISTS: stream(6, 'The uid is already in use.'),
  SCI_STREAM_NOT_FOUND: stream(5, 'No stream has this uid or name.'),
  SCI_STREAM_AMBIGUOUS: stream(3, 'Several streams match the prefix or name.'),
  SCI_STREAM_STATE: stream(9, 'The state of the stream does not allow the operation.'),
  SCI_STREAM_CONFLICT: stream(10, 'The record of the stream changed during the operation.'),
  SCI_STREAM_FAILED: stream(9, 'The stream has failed; its status shows the reason.'),
  SCI_STREAM_RELEASED: stream(1, 'The stream was released, or its lifetime ended.'),
  SCI_HELLO_TIMEOUT: stream(4, 'No HELLO arrived in time; the stream was released.'),
  SCI_CLIENT_GONE: stream(1, 'The client disconnected while its request was pending; the stream was released.'),
  SCI_LIMIT_REACHED: stream(
    8,
    'A limit is reached, such as that of streams, pending requests, watches, probes, or old workers of a proxy.',
  ),
  SCI_PORTS_EXHAUSTED: stream(8, 'The port range of the gateway does not have enough free ports.'),
  SCI_NO_RESOURCE: stream(
    8,
    'No eligible gateway accepts the stream: each is down, drained, or has too little free bandwidth.',
  ),
  SCI_TARGET_UNRESOLVED: stream(9, 'The gateway cannot resolve the host name of a target.'),
  SCI_VERIFY_FAILED: stream(9, 'A hop of the stream failed verification.'),

  SCI_PROXY_UNKNOWN: proxy(3, 'No proxy of this name is available.'),
  SCI_RUNTIME_UNKNOWN: proxy(3, 'No runtime of this name is available.'),
  SCI_PROXY_UNSUPPORTED: proxy(12, 'The proxy does not support a requested feature, such as UDP.'),
  SCI_PROXY_CONFIG_INVALID: proxy(13, 'The configuration check of the proxy failed.'),
  SCI_PROXY_NOT_READY: proxy(14, 'The proxy did not start or answer in time.'),
  SCI_PROXY_DIED: proxy(14, 'The proxy exited unexpectedly or was killed.'),
  SCI_PROXY_COMMAND_FAILED: proxy(13, 'The running proxy rejected a command.'),
  SCI_EXECUTABLE_NOT_FOUND: proxy(14, 'The program of a proxy is not installed on the gateway.'),
  SCI_RUNTIME_UNREACHABLE: proxy(14, 'The runtime does not answer.'),
  SCI_RUNTIME_FAILED: proxy(13, 'An operation of the runtime failed.'),
  SCI_CONTAINER_CONFLICT: proxy(6, 'An instance of this name exists and does not belong to this gateway.'),
  SCI_PORT_TAKEN: proxy(14, 'Another program took a reserved port.'),
  SCI_IMAGE_NOT_FOUND: proxy(9, 'The image of a proxy is neither on the machine nor in a reachable registry.'),
  SCI_LISTENER_ADDRESS: proxy(9, 'The listen address of the gateway does not exist on this machine.'),

  SCI_UNAUTHENTICATED: auth(16, 'The caller is not authenticated.'),
  SCI_FORBIDDEN: auth(7, 'The caller is not authorized for the operation.'),
  SCI_TOKEN_MISSING: auth(16, 'The call has no token.'),
  SCI_TOKEN_MALFORMED: auth(16, 'The token has the wrong format or lacks a claim.'),
  SCI_TOKEN_EXPIRED: auth(16, 'The token has expired.'),
  SCI_TOKEN_NOT_YET_VALID: auth(16, 'The token is not valid yet.'),
  SCI_TOKEN_ISSUER: auth(16, 'The control server does not trust the issuer of the token.'),
  SCI_TOKEN_AUDIENCE: auth(16, 'The token is for another audience.'),
  SCI_TOKEN_SIGNATURE: auth(
    16,
    'The signature of the token is invalid, or uses an unknown key or a rejected algorithm.',
  ),
  SCI_TOKEN_INACTIVE: auth(16, 'The issuer reports that the token was revoked or is unknown.'),
  SCI_TOKEN_SCOPE: auth(7, 'The token lacks a scope that the control server requires.'),
  SCI_LOGIN_REQUIRED: auth(16, 'There is no login for the facility, or it can no longer be renewed.'),
  SCI_LOGIN_FAILED: auth(16, 'The login failed: denied, expired, or misconfigured.'),
  SCI_ENCRYPTION_REQUIRED: auth(7, 'The facility requires encryption between the gateways.'),
  SCI_CERTIFICATE_MISSING: auth(16, 'The server requires a client certificate, and the client presented none.'),
  SCI_CERTIFICATE_UNTRUSTED: auth(16, 'The server does not trust the client certificate.'),
  SCI_CERTIFICATE_EXPIRED: auth(16, 'The client certificate has expired.'),
  SCI_CERTIFICATE_REVOKED: auth(16, 'The client certificate has been revoked.'),

  SCI_S2CS_UNREACHABLE: control(14, 'The control server does not answer.'),
  SCI_S2DS_UNREACHABLE: control(14, 'The data server does not answer.'),
  SCI_ISSUER_UNREACHABLE: control(14, 'The token issuer does not answer correctly.'),
  SCI_TLS_UNTRUSTED: control(14, 'The certificate of the control server is not trusted.'),
  SCI_DEADLINE: control(4, 'The deadline expired before an answer arrived.'),
  SCI_SHUTTING_DOWN: control(14, 'The control server is stopping.'),
  SCI_LISTEN_FAILED: control(14, 'The daemon cannot listen on its address.'),
  SCI_STATE_LOCKED: control(9, 'Another daemon uses the same state directory.'),
  SCI_STATE_DAMAGED: control(15, 'The stored state of a daemon is damaged.'),
  SCI_STATE_NEWER: control(9, 'A newer version of SciStream wrote the state directory.'),
  SCI_STATE_WRITE: control(14, 'The daemon cannot write to its state directory; the change was not made.'),
  SCI_AUDIT_WRITE: control(14, 'The audit log is not writable; the requested operation was not performed.'),

  SCI_RATE_LIMITED: control(8, 'The caller exceeds its request rate; the answer says when to retry.'),
  SCI_NOT_OFFERED: control(12, 'The control server does not offer this call, because it has another version.'),

  SCI_OUTPUT_WRITE: {
    exit: 74,
    grpc: 15,
    meaning: 'A command cannot write its output, because the disk is full or the reader is gone.',
  },

  SCI_SYSTEM: {
    exit: 71,
    grpc: 13,
    meaning: 'The operating system of this host rejects an operation, for example because a disk is full.',
  },
  SCI_BUG: { exit: 70, grpc: 13, meaning: 'A bug in SciStream. Please report it with the log.' },
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

/**
 * The text of the innermost cause: libraries wrap the error of the network or the disk in one of their own. Of the text of
 * OpenSSL, which has its source line and a line break, only the reason.
 */
export function reasonOf(error: unknown): string {
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  const text = messageOf(innermost);
  const tls = /:error:[^:]*:SSL routines:[^:]*:([^:]*)/.exec(text)?.[1];
  return tls === undefined ? text : `TLS failure (${tls})`;
}

/** The `code` of a Node.js system error such as ENOENT, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Quotes an untrusted value for a message: at most 80 characters, without control characters. */
export function quote(value: unknown): string {
  // JSON does not escape C1 controls and bidirectional marks, which can control a terminal.
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

/**
 * Escapes the control and format characters that JSON allows in a text; keeps line breaks, which JSON has only between
 * values. The result has the same value.
 */
export const printableJson = (document: string): string =>
  document.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) =>
    one.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );

/** The value as JSON, or its JavaScript type if JSON cannot represent it (bigint, cycle). */
function json(value: unknown): string {
  try {
    return JSON.stringify(value ?? null) ?? typeof value;
  } catch {
    return typeof value;
  }
}
