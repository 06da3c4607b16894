import { z } from 'zod';
import { parseFingerprint } from '../config/fields.js';
import type { FacilityConfig } from '../config/schemas.js';
import { formatAddress, isLoopback, parseAddress, type Address } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import { LoginSchema, type Login, type ServerLogin } from './login/login.js';

/**
 * How a client verifies a control server: the system CAs, a CA file, one pinned certificate, or not at all (plain
 * text).
 */
export type Trust =
  | { readonly kind: 'system' }
  | { readonly kind: 'ca'; readonly file: string }
  | { readonly kind: 'pin'; readonly fingerprint: string }
  | { readonly kind: 'plain' };

/** Source of a token. It is read for every call, so that a renewed token applies immediately. The token is not kept. */
export type TokenSource = { readonly file: string } | { readonly env: string } | { readonly login: Login };

/** Files of the client certificate and its key. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** One control server (S2CS), and how to connect to it. */
export interface Endpoint {
  /** Name in the configuration; host:port for a server without one. */
  readonly facility: string;
  readonly address: Address;
  readonly trust: Trust;
  readonly token?: TokenSource | undefined;
  readonly certificate?: ClientCertificate | undefined;
  /** Minimum TLS version; default TLSv1.3. */
  readonly minTls?: 'TLSv1.2' | 'TLSv1.3' | undefined;
  /** Interval of HTTP/2 pings while a call waits for its answer, ms; default 20 s. */
  readonly pingIntervalMs?: number | undefined;
}

/** Trust settings for servers given as host:port, which the configuration does not name. */
export type TrustSettings = Omit<FacilityConfig, 's2cs'>;

/**
 * Resolves a server argument of the user.
 * @param text Name of a facility, `host:port`, or `host:port#sha256:…` (trusts exactly that certificate).
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
  const { token, cert, key, minTls, pingIntervalMs } = defaults;
  const trusted = { fingerprint: fingerprint.join('#'), token, cert, key, minTls, pingIntervalMs };
  return toEndpoint(hostPort, address, trusted);
}

/**
 * An endpoint with settings that replace its own. What they do not set stays, and so does a configured facility, whose
 * name is no host:port.
 * @returns the same object if nothing changes
 * @throws SCI_USAGE, SCI_CONFIG_INVALID as {@link resolveEndpoint}
 */
export function overridden(endpoint: Endpoint, settings: TrustSettings = {}): Endpoint {
  const { facility, address } = endpoint;
  if (!facility.includes(':')) return endpoint;
  const given = toEndpoint(facility, address, settings);
  const trust = given.trust.kind === 'system' ? endpoint.trust : given.trust;
  const certificate = trust.kind === 'plain' ? undefined : (given.certificate ?? endpoint.certificate);
  const changed = { ...endpoint, trust, token: given.token ?? endpoint.token, certificate };
  return endpointKey(changed) === endpointKey(endpoint) ? endpoint : changed;
}

function addressOf(hostPort: string, text: string, names: readonly string[]): Address {
  try {
    return parseAddress(hostPort);
  } catch (cause) {
    const known =
      names.length > 0
        ? `Use a configured facility: ${names.join(', ')}.`
        : 'No facilities are configured. Add them to the configuration, or select another file with --config.';
    throw new SciStreamError(
      'SCI_FACILITY_UNKNOWN',
      `${quote(text)} is neither a facility in the configuration nor host:port.`,
      {
        cause,
        suggestions: [known, 'Use host:port or host:port#sha256:… for a server that is not in the configuration.'],
      },
    );
  }
}

function toEndpoint(facility: string, address: Address, settings: TrustSettings): Endpoint {
  const token = settings.auth ? { login: plainLogin(facility, settings.auth) } : tokenSource(settings.token);
  const certificate = clientCertificate(facility, settings);
  const trust = toTrust(facility, settings);
  const { minTls, pingIntervalMs } = settings;
  const known = {
    ...(token && { token }),
    ...(certificate && { certificate }),
    ...(minTls && { minTls }),
    ...(pingIntervalMs && { pingIntervalMs }),
  };
  return { facility, address, trust, ...known };
}

function toTrust(facility: string, { ca, fingerprint, insecure }: TrustSettings): Trust {
  const given = [ca && 'ca', fingerprint && 'fingerprint', insecure && 'insecure'].filter(Boolean);
  if (given.length > 1) {
    throw new SciStreamError('SCI_USAGE', `${facility} has ${given.join(' and ')}, which exclude each other.`, {
      suggestions: ['Keep the fingerprint or the CA file, and remove the rest.'],
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

/** The login for exactly this endpoint; undefined if the endpoint uses no login. */
export function loginOf(endpoint: Endpoint): ServerLogin | undefined {
  const { token } = endpoint;
  return token && 'login' in token ? { ...token.login, server: serverOf(endpoint) } : undefined;
}

/** Address and trust of a control server in one line. A login is bound to this text. */
export function serverOf({ address, trust }: Endpoint): string {
  const at = formatAddress(address);
  if (trust.kind === 'pin') return `${at}#${trust.fingerprint}`;
  if (trust.kind === 'ca') return `${at} with the CA ${trust.file}`;
  return trust.kind === 'system' ? `${at} with the system CAs` : `${at} in plain text`;
}

function clientCertificate(facility: string, { cert, key, insecure }: TrustSettings): ClientCertificate | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key !== undefined && !insecure) return { cert, key };
  const why = insecure ? 'a client certificate and insecure' : cert ? 'cert without key' : 'key without cert';
  throw new SciStreamError('SCI_USAGE', `${facility} has ${why}.`, {
    suggestions: ['Set cert and key together, and remove insecure. Or remove both.'],
  });
}

function tokenSource(token: TrustSettings['token']): TokenSource | undefined {
  if (token?.file) return { file: token.file };
  return token?.env ? { env: token.env } : undefined;
}

/** A key that is equal for two endpoints of the same server with the same credentials, whatever their names. */
export const endpointKey = ({ address, trust, token, certificate }: Endpoint): string =>
  JSON.stringify([formatAddress(address), trust, token ?? null, certificate ?? null]);

/** Whether a token or key sent to the endpoint crosses a network in plain text. */
export const exposesToken = ({ address, trust }: Endpoint): boolean =>
  trust.kind === 'plain' && !isLoopback(address.host);

/** An address `host:port` in a file or ticket. */
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

/** A certificate fingerprint in the form that `parseFingerprint` returns. */
export const FingerprintSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** An endpoint in the journal. It contains no secret, only the location of secrets. */
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
  pingIntervalMs: z.int().min(1).optional(),
});

/** The input form of {@link EndpointSchema}. */
export const endpointToJson = (endpoint: Endpoint): z.input<typeof EndpointSchema> => ({
  ...endpoint,
  address: formatAddress(endpoint.address),
});
