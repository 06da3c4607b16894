import { readFile } from 'node:fs/promises';
import { systemCode, weaknessOf } from '@scistream/core';
import { unreachable } from './failures.js';
import type { JanusOptions } from './options.js';

/**
 * The `authorization` header of a request. The secret is read from its file or variable for every request, so it can be
 * rotated at any time. It is never stored and appears in no message.
 * @returns undefined without the option `auth`
 * @throws SCI_RUNTIME_UNREACHABLE with the place that has no secret
 */
export async function authorizationOf({ url, auth }: JanusOptions): Promise<string | undefined> {
  if (!auth) return undefined;
  const [secret, where] = await find(url, auth);
  if (secret === '') throw none(url, `${where} is empty`);
  // A token is sent unencoded.
  const wrong = 'user' in auth ? /\p{Cc}/u : /[^\x21-\x7e]/;
  if (wrong.test(secret)) throw none(url, `${where} has more than one line of text`);
  return 'user' in auth ? `Basic ${Buffer.from(`${auth.user}:${secret}`).toString('base64')}` : `Bearer ${secret}`;
}

/** A secret and its source. */
async function find(url: string, auth: NonNullable<JanusOptions['auth']>): Promise<[string, string]> {
  if ('tokenEnv' in auth) return variable(auth.tokenEnv);
  if ('passwordEnv' in auth) return variable(auth.passwordEnv);
  const file = 'tokenFile' in auth ? auth.tokenFile : auth.passwordFile;
  const weakness = weaknessOf(file, { secret: 'group' });
  if (weakness) throw none(url, weakness.why);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw none(url, `the file ${file} cannot be read (${systemCode(error) ?? 'unknown reason'})`);
  });
  return [text.trim(), `the file ${file}`];
}

const variable = (name: string): [string, string] => [(process.env[name] ?? '').trim(), `the variable ${name}`];

const none = (url: string, why: string): Error =>
  unreachable(url, `credentials are missing: ${why}`, 'Check auth in runtimes.janus.');
