import { readFile } from 'node:fs/promises';
import type { Interceptor } from '@connectrpc/connect';
import { SciStreamError, systemCode } from '../contracts/errors.js';
import { mustBeTrusted } from '../contracts/trust.js';
import type { TokenSource } from './endpoint.js';

/** Adds the token as the metadata key `authorization` (protocol.md §2). */
export function authorization(source: TokenSource, server: string): Interceptor {
  return (next) => async (request) => {
    request.header.set('authorization', await readToken(source, server));
    return next(request);
  };
}

/**
 * Reads a token now, and renews that of a login if it is about to expire.
 * @param server Receiver of the token, in the form of `serverOf`.
 * @throws SCI_UNAUTHENTICATED, SCI_FILE_UNTRUSTED, SCI_LOGIN_*
 */
export async function readToken(source: TokenSource, server: string): Promise<string> {
  if ('login' in source) {
    // Loaded on demand, because most commands use no login.
    const { accessToken } = await import('./login/access-token.js');
    return await accessToken({ ...source.login, server });
  }
  const token = 'env' in source ? process.env[source.env]?.trim() : (await readTokenFile(source.file)).trim();
  if (token && /^[\x21-\x7e]+$/.test(token)) return token;
  const where = 'env' in source ? `environment variable ${source.env}` : `file ${source.file}`;
  throw new SciStreamError('SCI_UNAUTHENTICATED', `The ${where} contains no token.`, {
    suggestions: ['Put the token of this facility there, on one line. The operator of the facility issues tokens.'],
  });
}

async function readTokenFile(file: string): Promise<string> {
  mustBeTrusted(file, { secret: 'group' });
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SciStreamError(
      'SCI_UNAUTHENTICATED',
      `Cannot read the token file ${file} (${systemCode(cause) ?? 'unknown error'}).`,
      {
        cause,
        suggestions: [
          `Check that ${file} exists and that this user can read it. The operator of the facility issues tokens.`,
        ],
      },
    );
  }
}
