import { readFileSync } from 'node:fs';
import { messageOf, quote, S2DSException, weaknessOf } from '@scistream/core';
import type { StunnelOptions } from './options.js';

/** A line of a `PSKsecrets` file. */
export interface PreSharedKey {
  readonly identity: string;
  /** Secret: only for the file of the instance. */
  readonly line: string;
}

/** Identity of the Python program. */
const LEGACY_IDENTITY = 'client1';

/**
 * The key of a stream without certificates: the configured line of the operators' file, or the key that the Python
 * program derives from the uid.
 * @throws SCI_PLUGIN_OPTIONS_INVALID if the file is unusable; the error never contains its content
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
      'Or change proxies.stunnel.psk.identity.',
    ]);
  }
  return { identity, line: `${line}\n` };
}

function readSecrets(path: string): string {
  try {
    const weakness = weaknessOf(path, { secret: 'user' });
    if (weakness) throw unusable(`${path} is not used: ${weakness.why}.`, [weakness.how]);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (S2DSException.is(cause)) throw cause;
    throw unusable(`The keys cannot be read: ${messageOf(cause)}.`, ['Check proxies.stunnel.psk.secrets.'], cause);
  }
}

const unusable = (message: string, suggestions: readonly string[], cause?: unknown): S2DSException =>
  new S2DSException('SCI_PLUGIN_OPTIONS_INVALID', message, { suggestions, cause });
