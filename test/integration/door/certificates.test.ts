/** Client certificates: which clients a control server accepts, and how it rejects the others. */
import 'reflect-metadata';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { container } from 'tsyringe';
import * as assert from 'uvu/assert';
import { SciStreamError, type ErrorCode } from '@scistream/core';
import { ControlClient, resolveEndpoint, type TrustSettings } from '@scistream/core/client';
import { loadConfig, type S2csConfig } from '@scistream/core/config';
import { ControlServer, registerServer } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { TestAuthority, type CertificateFiles } from '../../support/authority.js';
import { CapturedLog } from '../../support/logs.js';
import { freeRange } from '../../support/ports.js';
import { toAddress } from '../../support/server.js';
import { knock } from '../../support/silence.js';
import { suite } from '../../support/suite.js';

const s = suite('client certificates');

const HOST = '127.0.0.1';
const DAY_MS = 86_400_000;
const LONG_AGO = new Date(Date.now() - 100 * DAY_MS);
const LIMITS = { deadlineMs: 60_000 };

/** A control server with a CA for its clients, which also signed its own certificate. */
async function startServer(more: { required?: boolean; auth?: S2csConfig['auth']; minTls?: string } = {}) {
  const directory = await temporaryDirectory();
  const path = (name: string): string => join(directory.path, name);
  const ca = await TestAuthority.make(directory.path, 'ca', LONG_AGO);
  const other = await TestAuthority.make(directory.path, 'other');
  const { first, last } = await freeRange(4);
  const tls = { ...(await ca.server('server', HOST)), clientCa: ca.file, requireClientCertificate: more.required };
  const file = path('s2cs.conf');
  const auth = more.auth ?? [{ use: 'certificate', issuer: 'aps', admins: ['root'] }];
  await writeFile(
    file,
    JSON.stringify({
      state: path('state'),
      encryption: 'optional',
      tls,
      minTls: more.minTls,
      auth,
      gateways: [{ ports: `${first}-${last}` }],
    }),
  );
  const { config } = await loadConfig('s2cs', { file, env: {} });
  const log = new CapturedLog();
  const own = container.createChildContainer();
  registerServer(own, { config: { ...config, listen: { host: HOST, port: 0 } }, logger: log, plugins: [] });
  const server = own.resolve(ControlServer);
  const { address } = await server.start();
  const files = {
    alice: await ca.issue('alice'),
    root: await ca.issue('root'),
    stranger: await other.issue('alice'),
    expired: await ca.issue('late', { days: 1, now: LONG_AGO }),
    server: await ca.server('not-a-client', HOST),
  };
  const clients: ControlClient[] = [];
  const client = (certificate?: CertificateFiles, trust: TrustSettings = {}): ControlClient => {
    const made = new ControlClient(resolveEndpoint(address, {}, { ca: ca.file, ...certificate, ...trust }));
    clients.push(made);
    return made;
  };
  const close = async (): Promise<void> => {
    for (const each of clients) each.close();
    await server.stop({ release: true });
    await directory.remove();
  };
  return { files, client, log, path, address: toAddress(address), [Symbol.asyncDispose]: close };
}

async function refusal(client: ControlClient): Promise<ErrorCode> {
  const error: unknown = await client.describe(LIMITS).then(
    () => new Error('was accepted'),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  return error.code;
}

/** Makes a stream and returns its owner. */
async function ownerThrough(client: ControlClient): Promise<string> {
  const uid = randomUUID();
  const role = 'PROD';
  await Promise.all([client.req({ uid, role, numConn: 1, rate: 1 }, LIMITS), client.hello({ uid, role }, LIMITS)]);
  const { owner } = await client.get(uid, LIMITS);
  await client.release(uid, LIMITS);
  return owner;
}

s('a certificate of the CA is an identity, everything else is rejected with its own code', async () => {
  await using server = await startServer();
  const { files, client } = server;
  assert.is(await ownerThrough(client(files.alice)), 'aps:alice');
  assert.is(await refusal(client()), 'SCI_CERTIFICATE_MISSING');
  assert.is(await refusal(client(files.stranger)), 'SCI_CERTIFICATE_UNTRUSTED');
  assert.is(await refusal(client(files.server)), 'SCI_CERTIFICATE_UNTRUSTED');
  assert.is(await refusal(client(files.expired)), 'SCI_CERTIFICATE_EXPIRED');
});

s('if a certificate is required, clients get the same errors, and strangers get nothing', async () => {
  await using server = await startServer({ required: true });
  const { files, client, address } = server;
  assert.is(await ownerThrough(client(files.alice)), 'aps:alice');
  assert.is(await refusal(client()), 'SCI_CERTIFICATE_MISSING');
  assert.is(await refusal(client(files.stranger)), 'SCI_CERTIFICATE_UNTRUSTED');
  assert.is(await refusal(client(files.server)), 'SCI_CERTIFICATE_UNTRUSTED');
  assert.is(await refusal(client(files.expired)), 'SCI_CERTIFICATE_EXPIRED');
  for (const who of [undefined, files.stranger, files.expired, files.server]) {
    assert.equal(await knock(address, who), { bytes: 0, ended: true });
  }
  assert.equal(await knock(address, files.alice, 'TLSv1.2'), { bytes: 0, ended: true });
  assert.is((await knock(address, files.alice)).ended, false);
  assert.not.match(server.log.text, /call rejected/, 'no call of a stranger was processed');
});

s('TLS 1.2 is used if it is configured, at either end', async () => {
  await using server = await startServer({ minTls: '1.2' });
  const { files, client, address } = server;
  assert.is((await knock(address, files.alice, 'TLSv1.2')).ended, false);
  assert.is(await ownerThrough(client(files.alice)), 'aps:alice');
  await using strict = await startServer();
  assert.equal(await knock(strict.address, strict.files.alice, 'TLSv1.2'), { bytes: 0, ended: true });
});

s('a client uses TLS 1.2 only with the configured servers', async () => {
  await using directory = await temporaryDirectory();
  const ca = await TestAuthority.make(directory.path);
  const { cert, key } = await ca.server('old', HOST);
  const pair = { cert: await readFile(cert), key: await readFile(key) };
  let handshakes = 0;
  const old = createServer({ ...pair, maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] }, (socket) => {
    handshakes += 1;
    socket.destroy();
  });
  await once(old.listen(0, HOST), 'listening');
  const { port } = old.address() as AddressInfo;
  const ask = async (trust: TrustSettings): Promise<string> => {
    const client = new ControlClient(resolveEndpoint(`${HOST}:${port}`, {}, { ca: ca.file, ...trust }));
    const error: unknown = await client.describe(LIMITS).catch((thrown: unknown) => thrown);
    client.close();
    return String(error);
  };
  assert.match(await ask({}), /it does not speak TLS 1\.3/);
  assert.is(handshakes, 0);
  assert.not.match(await ask({ minTls: 'TLSv1.2' }), /does not speak TLS/);
  assert.ok(handshakes > 0);
  old.close();
});

s('certificates and tokens together: either is enough, and the error names what was wrong', async () => {
  const sha256 = createHash('sha256').update('right').digest('hex');
  const tokens = { use: 'token', tokens: [{ subject: 'bob', sha256 }] };
  await using server = await startServer({ auth: [{ use: 'certificate' }, tokens] });
  const { files, client, path } = server;
  const token = async (text: string) => {
    await writeFile(path(text), text);
    return { token: { file: path(text) } };
  };
  const [right, wrong] = [await token('right'), await token('wrong')];
  assert.is(await ownerThrough(client(undefined, right)), 'token:bob');
  assert.is(await ownerThrough(client(files.stranger, right)), 'token:bob');
  assert.is(await ownerThrough(client(files.alice, wrong)), 'certificate:alice');
  assert.is(await refusal(client(undefined, wrong)), 'SCI_UNAUTHENTICATED');
  assert.is(await refusal(client(files.expired, wrong)), 'SCI_CERTIFICATE_EXPIRED');
});

s('an unusable client certificate is reported before anything is sent', async () => {
  await using server = await startServer();
  const { files, client } = server;
  const { cert } = files.alice;
  for (const wrong of [
    { cert, key: '/nonexistent.key' },
    { cert, key: files.root.key },
    { cert: files.root.key, key: files.root.key },
  ]) {
    assert.throws(
      () => client(wrong),
      (error: unknown) => SciStreamError.is(error) && error.code === 'SCI_CERTIFICATE_INVALID',
    );
  }
  assert.throws(
    () => client(undefined, { cert }),
    (error: unknown) => SciStreamError.is(error) && error.code === 'SCI_USAGE',
  );
});

s('impossible settings are rejected as configuration errors', async () => {
  await using directory = await temporaryDirectory();
  const { file: ca } = await TestAuthority.make(directory.path);
  const pair = await (await TestAuthority.make(directory.path, 'x')).server('server', HOST);
  const file = join(directory.path, 's2cs.conf');
  const start = async (document: object): Promise<string> => {
    await writeFile(file, JSON.stringify({ state: join(directory.path, 'state'), ...document }));
    const own = container.createChildContainer();
    try {
      const { config } = await loadConfig('s2cs', { file, env: {} });
      registerServer(own, {
        config: { ...config, listen: { host: HOST, port: 0 } },
        logger: new CapturedLog(),
        plugins: [],
      });
      await own.resolve(ControlServer).start();
      return 'started';
    } catch (error) {
      if (!SciStreamError.is(error)) throw error;
      return `${error.code} ${error.message}`;
    }
  };
  const auth = [{ use: 'certificate' }];
  assert.match(await start({ auth }), /^SCI_CONFIG_INVALID.*clientCa/);
  assert.match(await start({ tls: { ...pair, requireClientCertificate: true } }), /^SCI_CONFIG_INVALID.*clientCa/);
  assert.match(await start({ auth, tls: { ...pair, clientCa: '/nonexistent' } }), /^SCI_CONFIG_INVALID tls\.clientCa/);
  assert.match(
    await start({ auth, tls: { ...pair, clientCa: pair.cert } }),
    /^SCI_CONFIG_INVALID.*not a CA certificate/,
  );
  assert.match(await start({ auth: [{ use: 'certificate', admin: [] }], tls: { ...pair, clientCa: ca } }), /admin/);
});

s.run();
