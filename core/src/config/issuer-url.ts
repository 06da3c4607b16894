import { isLoopback } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** Whether tokens, keys and secrets may travel to this URL: https, or http on a loopback address, which is for tests. */
export function isSafeUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, '')));
}

/**
 * The URL of an OpenID Connect issuer, unchanged: it is compared with tokens character by character (OpenID Connect
 * Discovery section 4.3). @throws SCI_CONFIG_INVALID
 */
export function parseIssuer(text: string): string {
  if (isSafeUrl(text) && !/[?#]/.test(text)) return text;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} is not the URL of an issuer.`, {
    suggestions: ['Write it as its tokens have it, for example https://login.example.org; http only on loopback.'],
  });
}
