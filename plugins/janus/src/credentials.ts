import { readFile } from 'node:fs/promises';
import { systemCode } from '@scistream/core';
import { unreachable } from './failures.js';
import type { JanusOptions } from './options.js';

/**
 * The header `authorization` of a request, from a file or the environment as they are now, so that a secret can be
 * replaced at any time. It is kept nowhere and appears in no message.
 * @returns undefined without the option `auth`
 * @throws SCI_RUNTIME_UNREACHABLE saying where no secret was found
 */
export async function authorizationOf({ url, auth }: JanusOptions): Promise<string | undefined> {
  if (!auth) return undefined;
  const [secret, where] = await find(url, auth);
  if (secret === '') throw none(url, `${where} is empty`);
  // A token stands in the header as it is.
  const wrong = 'user' in auth ? /\p{Cc}/u : /[^\x21-\x7e]/;
  if (wrong.test(secret)) throw none(url, `${where} holds more than one line of text`);
  return 'user' in auth ? `Basic ${Buffer.from(`${auth.user}:${secret}`).toString('base64')}` : `Bearer ${secret}`;
}

/** A secret and where it was found. */
async function find(url: string, auth: NonNullable<JanusOptions['auth']>): Promise<[string, string]> {
  if ('tokenEnv' in auth) return variable(auth.tokenEnv);
  if ('passwordEnv' in auth) return variable(auth.passwordEnv);
  const file = 'tokenFile' in auth ? auth.tokenFile : auth.passwordFile;
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw none(url, `the file ${file} cannot be read (${systemCode(error) ?? 'unknown reason'})`);
  });
  return [text.trim(), `the file ${file}`];
}

const variable = (name: string): [string, string] => [(process.env[name] ?? '').trim(), `the variable ${name}`];

const none = (url: string, why: string): Error =>
  unreachable(url, `there are no credentials, ${why}`, 'Check auth in runtimes.janus.');
