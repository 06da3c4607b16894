import { isIP } from 'node:net';
import { isHost } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** A pattern in lower case: `detector.example`, `*.example` (every name below `example`, but not itself) or `*`. */
export type HostPattern = string;

/** Parses a pattern. @throws SCI_CONFIG_INVALID */
export function parseHostPattern(text: string): HostPattern {
  const pattern = text.toLowerCase();
  const host = pattern.replace(/^\*\./, '');
  if (pattern === '*' || (isHost(host) && isIP(host) === 0)) return pattern;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} is not a host name.`, {
    suggestions: ['Write a name, such as detector.example or *.example. Write addresses to the key networks.'],
  });
}

/** Whether a host name matches a pattern. @param host Lower case, as `parseAddress` returns it */
export const matchesHost = (pattern: HostPattern, host: string): boolean =>
  pattern === '*' || (pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : pattern === host);
