import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SciStreamError } from '../contracts/errors.js';
import { silentLogger } from '../contracts/logger.js';
import type { StreamSpec } from '../contracts/stream.js';
import type { Providers } from '../plugins/index.js';
import { LocalGateway } from './local-gateway.js';

const HOST = '127.0.0.1';

/**
 * Starts a proxy for a stream without targets, as a gateway does, and stops it again. A program can be installed and
 * still not start, for example without its shared libraries.
 * @param names Ids of the proxy and of a runtime that runs programs of this host.
 * @returns false if the proxy only carries encrypted streams, and was not started
 * @throws the error of the start, as `S2DS.start`
 */
export async function tryToStart(
  providers: Providers,
  { proxy, runtime }: { readonly proxy: string; readonly runtime: string },
): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'scistream-trial-'));
  try {
    const port = await freePort();
    const settings = { name: 'trial', wan: HOST, lan: HOST, ports: { first: port, last: port }, proxy, runtime };
    await start(new LocalGateway(settings, providers, silentLogger, directory), { ...SPEC, proxy, runtime });
    return true;
  } catch (error) {
    if (!SciStreamError.is(error) || error.code !== 'SCI_PROXY_UNSUPPORTED') throw error;
    return false;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Starts one stream on a new gateway, and closes the gateway. */
async function start(gateway: LocalGateway, spec: StreamSpec): Promise<void> {
  try {
    await gateway.open();
    await gateway.reserve(UID, spec);
    await gateway.start(UID, AbortSignal.timeout(START_MS));
  } finally {
    await gateway.releaseAll().finally(() => gateway.close());
  }
}

const UID = 'doctor-trial';
/** Deadline of the start, ms. */
const START_MS = 30_000;

const SPEC = {
  name: '',
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
