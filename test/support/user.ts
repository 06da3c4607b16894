import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { resolveEndpoint, S2UC, type Endpoint, type S2ucOptions } from '@scistream/core/client';
import { temporaryDirectory } from '@scistream/core/testing';
import type { TestServer } from './server.js';

/** A user client with its own state directory. */
export interface User extends AsyncDisposable {
  readonly client: S2UC;
  readonly stateDir: string;
  /** Names of the files in the journal. */
  journal(): Promise<readonly string[]>;
}

/** A user whose client talks to control servers in plain text, unless an endpoint says otherwise. */
export async function user(options: Omit<S2ucOptions, 'stateDir' | 'trust'> = {}): Promise<User> {
  const directory = await temporaryDirectory();
  const client = new S2UC({}, { ...options, trust: { insecure: true }, stateDir: directory.path });
  return {
    client,
    stateDir: directory.path,
    journal: () => readdir(join(directory.path, 'streams')).catch(() => []),
    [Symbol.asyncDispose]: async () => {
      client.close();
      await directory.remove();
    },
  };
}

/** The endpoint of a server, which trusts exactly its certificate. @param token File with a token. */
export const endpointOf = ({ listening, state }: TestServer, token?: string): Endpoint => ({
  ...resolveEndpoint(listening.address, {}, { ca: join(state, 'tls', 'server.crt') }),
  ...(token !== undefined && { token: { file: token } }),
});
