import { readFileSync, statSync } from 'node:fs';
import { messageOf, quote, S2DSException } from '@scistream/core';
import type { StunnelOptions } from './options.js';

/** A line of a `PSKsecrets` file. */
export interface PreSharedKey {
  readonly identity: string;
  /** Secret: for the file of the instance and nothing else. */
  readonly line: string;
}

/** Identity that the Python program uses (protocol.md §2). */
const LEGACY_IDENTITY = 'client1';

/**
 * The key of a stream that has no certificates: the one line of the operators' file that is asked for, or what the Python
 * program makes of a uid.
 * @throws SCI_PLUGIN_OPTIONS_INVALID when the file cannot be used; never with anything of its content
 */
export function preSharedKey(psk: NonNullable<StunnelOptions['psk']>, uid: string): PreSharedKey {
  if ('compatibility' in psk) {
    return { identity: LEGACY_IDENTITY, line: `${LEGACY_IDENTITY}:${uid.replaceAll('-', '')}\n` };
  }
  const { secrets, identity } = psk;
  const line = readSecrets(secrets)
    .split(/\r?\n/)
    .find((candidate) => candidate.startsWith(`${identity}:`));
  if (line === undefined) {
    throw unusable(`${secrets} has no line for the identity ${quote(identity)}.`, [
      `Add one to the file on both gateways: (printf '${identity}:'; openssl rand -hex 32) >> ${secrets}`,
      'Or correct proxies.stunnel.psk.identity.',
    ]);
  }
  return { identity, line: `${line}\n` };
}

function readSecrets(path: string): string {
  try {
    if (statSync(path).mode & 0o077) throw unusable(`Others can read or write ${path}.`, [`chmod 600 ${path}`]);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (S2DSException.is(cause)) throw cause;
    throw unusable(`The keys cannot be read: ${messageOf(cause)}.`, ['Correct proxies.stunnel.psk.secrets.'], cause);
  }
}

const unusable = (message: string, suggestions: readonly string[], cause?: unknown): S2DSException =>
  new S2DSException('SCI_PLUGIN_OPTIONS_INVALID', message, { suggestions, cause });
