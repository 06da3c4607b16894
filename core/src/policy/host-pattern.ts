import { isIP } from 'node:net';
import { isHost } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** `detector.example`, `*.example` (every name below it, not itself) or `*`; lower case. */
export type HostPattern = string;

/** @throws SCI_CONFIG_INVALID */
export function parseHostPattern(text: string): HostPattern {
  const pattern = text.toLowerCase();
  const host = pattern.replace(/^\*\./, '');
  if (pattern === '*' || (isHost(host) && isIP(host) === 0)) return pattern;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} is not a host name.`, {
    suggestions: ['Write a name, such as detector.example, or *.example; addresses belong into networks.'],
  });
}

/** @param host lower case, as `parseAddress` returns it */
export const matchesHost = (pattern: HostPattern, host: string): boolean =>
  pattern === '*' || (pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : pattern === host);
