import { z } from 'zod';
import { parseFingerprint } from '../config/fields.js';
import type { FacilityConfig } from '../config/schemas.js';
import { formatAddress, isLoopback, parseAddress, type Address } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import { LoginSchema, type Login, type ServerLogin } from './login/login.js';

/** By what a client recognises a control server: the system's CAs, a CA file, one certificate, or not at all (plain text). */
export type Trust =
  | { readonly kind: 'system' }
  | { readonly kind: 'ca'; readonly file: string }
  | { readonly kind: 'pin'; readonly fingerprint: string }
  | { readonly kind: 'plain' };

/** Where a token is read from, anew for every call, so that a renewed one is used at once. The token itself is never kept. */
export type TokenSource = { readonly file: string } | { readonly env: string } | { readonly login: Login };

/** Files of the certificate by which this client proves who it is, and of its key. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** One control server (S2CS) as a client sees it. */
export interface Endpoint {
  /** Name in the configuration, or host:port where it has none. */
  readonly facility: string;
  readonly address: Address;
  readonly trust: Trust;
  readonly token?: TokenSource | undefined;
  readonly certificate?: ClientCertificate | undefined;
  /** The least version of TLS; default TLSv1.3. */
  readonly minTls?: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

/** How servers given as host:port, which no configuration knows, are trusted. */
export type TrustSettings = Omit<FacilityConfig, 's2cs'>;

/**
 * Finds the control server behind what a user typed.
 * @param text Name of a facility, `host:port`, or `host:port#sha256:…` (which trusts exactly that certificate).
 * @param defaults Trust for servers given as host:port without a fingerprint.
 * @throws SCI_FACILITY_UNKNOWN, SCI_CONFIG_INVALID (fingerprint), SCI_USAGE (two kinds of trust)
 */
export function resolveEndpoint(
  text: string,
  facilities: Readonly<Record<string, FacilityConfig>>,
  defaults: TrustSettings = {},
): Endpoint {
  const known = Object.hasOwn(facilities, text) ? facilities[text] : undefined;
  if (known) return toEndpoint(text, known.s2cs, known);
  const [hostPort = '', ...fingerprint] = text.split('#');
  const address = addressOf(hostPort, text, Object.keys(facilities));
  if (fingerprint.length === 0) return toEndpoint(hostPort, address, defaults);
  const { token, cert, key, minTls } = defaults;
  return toEndpoint(hostPort, address, { fingerprint: fingerprint.join('#'), token, cert, key, minTls });
}

function addressOf(hostPort: string, text: string, names: readonly string[]): Address {
  try {
    return parseAddress(hostPort);
  } catch (cause) {
    const known =
      names.length > 0
        ? `Use a configured facility: ${names.join(', ')}.`
        : 'No facilities are configured. Pass the file that defines them: --config FILE';
    throw new SciStreamError('SCI_FACILITY_UNKNOWN', `${quote(text)} is neither a configured facility nor host:port.`, {
      cause,
      suggestions: [known, 'Write host:port or host:port#sha256:… for a server that is not in the configuration.'],
    });
  }
}

function toEndpoint(facility: string, address: Address, settings: TrustSettings): Endpoint {
  const token = settings.auth ? { login: plainLogin(facility, settings.auth) } : tokenSource(settings.token);
  const certificate = clientCertificate(facility, settings);
  const trust = toTrust(facility, settings);
  const { minTls } = settings;
  const known = { ...(token && { token }), ...(certificate && { certificate }), ...(minTls && { minTls }) };
  return { facility, address, trust, ...known };
}

function toTrust(facility: string, { ca, fingerprint, insecure }: TrustSettings): Trust {
  const given = [ca && 'ca', fingerprint && 'fingerprint', insecure && 'insecure'].filter(Boolean);
  if (given.length > 1) {
    throw new SciStreamError('SCI_USAGE', `${facility} has ${given.join(' and ')}, which exclude each other.`, {
      suggestions: ['Keep either the fingerprint or the CA file.'],
    });
  }
  if (ca) return { kind: 'ca', file: ca };
  if (fingerprint) return { kind: 'pin', fingerprint: parseFingerprint(fingerprint) };
  return { kind: insecure ? 'plain' : 'system' };
}

function plainLogin(facility: string, auth: NonNullable<FacilityConfig['auth']>): Login {
  const { issuer, client, scope, resource } = auth;
  return { facility, issuer, client, scope, ...(resource !== undefined && { resource }) };
}

/** How a user logs in for an endpoint, and for no other; undefined where it takes no logins. */
export function loginOf(endpoint: Endpoint): ServerLogin | undefined {
  const { token } = endpoint;
  return token && 'login' in token ? { ...token.login, server: serverOf(endpoint) } : undefined;
}

/** Where a control server is and how it is recognised, in one line: what a login is bound to. */
export function serverOf({ address, trust }: Endpoint): string {
  const at = formatAddress(address);
  if (trust.kind === 'pin') return `${at}#${trust.fingerprint}`;
  if (trust.kind === 'ca') return `${at} with the CA ${trust.file}`;
  return trust.kind === 'system' ? `${at} with the CAs of the system` : `${at} in plain text`;
}

function clientCertificate(facility: string, { cert, key, insecure }: TrustSettings): ClientCertificate | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key !== undefined && !insecure) return { cert, key };
  const why = insecure ? 'a client certificate, but no TLS' : `a ${cert === undefined ? 'key' : 'certificate'} only`;
  throw new SciStreamError('SCI_USAGE', `${facility} has ${why}.`, {
    suggestions: ['Give both certificate and key, and remove insecure.'],
  });
}

function tokenSource(token: TrustSettings['token']): TokenSource | undefined {
  if (token?.file) return { file: token.file };
  return token?.env ? { env: token.env } : undefined;
}

/** What makes two endpoints the same server, whatever they are called. */
export const endpointKey = ({ address, trust, token, certificate }: Endpoint): string =>
  JSON.stringify([formatAddress(address), trust, token ?? null, certificate ?? null]);

/** Whether a token or key sent there could be read on the way. */
export const exposesToken = ({ address, trust }: Endpoint): boolean =>
  trust.kind === 'plain' && !isLoopback(address.host);

/** `host:port` in a file or ticket. */
export const AddressSchema = z
  .string()
  .max(260)
  .transform((text, context): Address => {
    try {
      return parseAddress(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'not host:port' });
      return z.NEVER;
    }
  });

/** SHA-256 of the DER of a certificate, as `parseFingerprint` returns it. */
export const FingerprintSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** An endpoint as it stands in the journal: no secret, only where one is found. */
export const EndpointSchema = z.strictObject({
  facility: z.string().max(300),
  address: AddressSchema,
  trust: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('system') }),
    z.strictObject({ kind: z.literal('ca'), file: z.string() }),
    z.strictObject({ kind: z.literal('pin'), fingerprint: FingerprintSchema }),
    z.strictObject({ kind: z.literal('plain') }),
  ]),
  token: z
    .union([
      z.strictObject({ file: z.string() }),
      z.strictObject({ env: z.string() }),
      z.strictObject({ login: LoginSchema }),
    ])
    .optional(),
  certificate: z.strictObject({ cert: z.string(), key: z.string() }).optional(),
  minTls: z.enum(['TLSv1.2', 'TLSv1.3']).optional(),
});

/** The input form of {@link EndpointSchema}. */
export const endpointToJson = (endpoint: Endpoint): z.input<typeof EndpointSchema> => ({
  ...endpoint,
  address: formatAddress(endpoint.address),
});
