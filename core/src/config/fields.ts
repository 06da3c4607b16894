import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { formatAddress, parseAddress, parsePort, type Address } from '../contracts/address.js';
import { isIdentityName } from '../contracts/authenticator.js';
import { quote, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { formatNetwork, parseNetwork } from '../contracts/network.js';
import type { PortRange } from '../contracts/port-allocator.js';
import { parseDuration, parseRate } from '../contracts/units.js';

/**
 * A field that is written as text, or as a number in YAML, and parsed. An error of the parser becomes an issue with the
 * same code and suggestions.
 */
export function text<T>(parse: (value: string) => T): z.ZodType<T, string | number> {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    try {
      return parse(String(value));
    } catch (error) {
      const { code, message, suggestions } = toSciStreamError(error);
      context.addIssue({ code: 'custom', message, params: { code, suggestions } });
      return z.NEVER;
    }
  });
}

/** The name of a caller, an issuer or a group. */
export const identityName = z
  .string()
  .refine(isIdentityName, 'must have 1 to 200 characters, without control and formatting characters');

const invalid = (message: string, suggestion: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', message, { suggestions: [suggestion] });

/** Parses `5100-5200`. @throws SCI_PORT_RANGE_INVALID */
export function parsePortRange(value: string): PortRange {
  const [low = '', high = low, ...more] = value.split('-').map((part) => part.trim());
  const first = parsePort(low);
  const last = parsePort(high);
  const reversed = first !== undefined && last !== undefined && first > last;
  if (first !== undefined && last !== undefined && !reversed && more.length === 0) return { first, last };
  throw new SciStreamError(
    'SCI_PORT_RANGE_INVALID',
    `${quote(value)} is not a port range${reversed ? ': it is reversed' : ''}.`,
    {
      suggestions: [
        reversed ? `Write ${last}-${first}.` : 'Write first-last, both from 1 to 65535, for example 5100-5200.',
      ],
    },
  );
}

/** Parses the SHA-256 of a certificate: hex, with or without colons. @throws SCI_CONFIG_INVALID */
export function parseFingerprint(value: string): string {
  const hex = /^sha256:([0-9a-f]{2}(?::?[0-9a-f]{2}){31})$/i.exec(value)?.[1];
  if (hex !== undefined) return `sha256:${hex.replaceAll(':', '').toLowerCase()}`;
  throw invalid(
    `${quote(value)} is not a fingerprint.`,
    'Write sha256: and 64 hex digits, as the control server prints when it starts.',
  );
}

function parseGatewayIp(value: string): string {
  const wildcard = /^(0\.0\.0\.0|[0:]+)$/.test(value);
  if (isIP(value) !== 0 && !value.includes('%') && !wildcard) return value.toLowerCase();
  throw invalid(
    wildcard ? `${quote(value)} means every address of the host.` : `${quote(value)} is not an IP address.`,
    'Write the IP address of this gateway on which streams listen, for example 203.0.113.10.',
  );
}

function parseUnixPath(value: string): string {
  if (/^unix:\/./.test(value)) return value;
  throw invalid(`${quote(value)} is not unix:/path.`, 'Write it like unix:/run/scistream/s2ds.sock.');
}

function parseS2dsAddress(value: string): string {
  if (value === 'embedded') return value;
  if (value.startsWith('unix:')) return parseUnixPath(value);
  try {
    return formatAddress(parseAddress(value));
  } catch {
    const how = 'Write embedded, unix:/run/scistream/s2ds.sock or host:port, for example 10.0.1.20:5010.';
    throw invalid(`${quote(value)} is neither embedded nor the address of a data server.`, how);
  }
}

function parseTlsVersion(value: string): 'TLSv1.2' | 'TLSv1.3' {
  if (value === '1.2' || value === '1.3') return `TLSv${value}`;
  throw invalid(`${quote(value)} is not a supported minimum version of TLS.`, 'Write 1.3, or 1.2 for old peers.');
}

function parseDataListen(value: string): string {
  return value.startsWith('unix:') ? parseUnixPath(value) : formatAddress(parseAddress(value));
}

const MAX_LIFETIME_MS = 20 * 86_400_000;

function parseLimitedDuration(value: string): number {
  const ms = parseDuration(value);
  if (ms <= MAX_LIFETIME_MS) return ms;
  throw invalid(`${quote(value)} is longer than 20 days.`, 'Write at most 20d.');
}

/** host:port */
export const address: z.ZodType<Address, string | number> = text((value) => parseAddress(value));
/** host:port,host:port… */
export const addresses = text((value) => value.split(',').map((part) => parseAddress(part.trim())));
/** The IP address of a gateway: a literal, and not the unspecified address. */
export const gatewayIp = text(parseGatewayIp);
/** A network in the form of `formatNetwork`. */
export const network = text((one) => formatNetwork(parseNetwork(one)));
/** first-last */
export const ports = text(parsePortRange);
/** bit/s */
export const rate = text(parseRate);
/** ms, at most 20 days: timers of Node.js are limited to 2^31 ms. */
export const duration = text(parseLimitedDuration);
/** sha256:… of a certificate. */
export const fingerprint = text(parseFingerprint);
/** unix:/path or host:port */
export const dataListen = text(parseDataListen);
/** `embedded`, unix:/path or host:port */
export const s2dsAddress = text(parseS2dsAddress);
/** 1.2 or 1.3, parsed to the name in Node.js. */
export const tlsVersion = text(parseTlsVersion);
/** A number of things, at least 1. */
export const count = z.int().min(1);
/** The name of a facility, gateway, stream, proxy or runtime. */
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'is not a name (letters, digits, ".", "_" and "-")');
/** Options by id. The schema of the plugin checks them. */
export const options = z.record(name, z.record(z.string(), z.unknown()));

/** A path. `~/` is the home directory; other relative paths start at `directory`. */
export const path = (directory: string): z.ZodType<string, string> =>
  z
    .string()
    .min(1)
    .transform((value) => resolve(directory, value.startsWith('~/') ? join(homedir(), value.slice(2)) : value));
