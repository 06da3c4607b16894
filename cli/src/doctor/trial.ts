import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SciStreamError, silentLogger } from '@scistream/core';
import { LocalGateway, type Providers } from '@scistream/core/server';
import { ok, type Finding } from './finding.js';

const HOST = '127.0.0.1';

/**
 * Starts the proxy of a gateway for a stream without targets, as the daemon does, and stops it again. A program can be
 * installed and still not start, for example without its shared libraries.
 * @throws the error of the start
 */
export async function tryToStart(
  providers: Providers,
  { proxy, runtime }: { readonly proxy: string; readonly runtime: string },
): Promise<Finding> {
  const directory = await mkdtemp(join(tmpdir(), 'scistream-doctor-'));
  const port = await freePort();
  const settings = { name: 'doctor', wan: HOST, lan: HOST, ports: { first: port, last: port }, proxy, runtime };
  const gateway = new LocalGateway(settings, providers, silentLogger, directory);
  try {
    await gateway.open();
    await gateway.reserve('doctor-trial', { ...SPEC, proxy, runtime });
    await gateway.start('doctor-trial', AbortSignal.timeout(START_MS));
    return ok('proxy', `${proxy} starts.`);
  } catch (error) {
    // A proxy that only encrypts is not started without credentials.
    if (!SciStreamError.is(error) || error.code !== 'SCI_PROXY_UNSUPPORTED') throw error;
    return ok('proxy', `${proxy} is usable.`);
  } finally {
    await gateway.releaseAll().finally(() => gateway.close());
    await rm(directory, { recursive: true, force: true });
  }
}

const START_MS = 30_000;

const SPEC = {
  name: 'doctor',
  role: 'outbound',
  transport: 'tcp',
  connections: 1,
  bitsPerSecond: 0,
  lifetimeMs: 0,
  encryption: 'none',
  gateway: '',
} as const;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
