import { isLoopback } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** Whether tokens, keys and secrets may be sent to this URL: https, or http to a loopback address for tests. */
export function isSafeUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, '')));
}

/**
 * Checks the URL of an OpenID Connect issuer and returns it unchanged, because it is compared with tokens character by
 * character (OpenID Connect Discovery section 4.3). @throws SCI_CONFIG_INVALID
 */
export function parseIssuer(text: string): string {
  if (isSafeUrl(text) && !/[?#]/.test(text)) return text;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} is not the URL of an issuer.`, {
    suggestions: [
      'Write it exactly as in its tokens, for example https://login.example.org. Use http only for loopback.',
    ],
  });
}
