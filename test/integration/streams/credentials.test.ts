/** Credentials of a stream at the control server: which proxies get them, when they are rejected, and that none are kept. */
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  proxyProvider,
  S2DSException,
  SciStreamError,
  silentLogger,
  type S2DS,
  type S2DSCapabilities,
} from '@scistream/core';
import { makeCredentials, S2UC } from '@scistream/core/client';
import { BUILT_INS, LocalGateway, Providers } from '@scistream/core/internal';
import { temporaryDirectory, testSpec } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { oldServer } from '../../support/old-server.js';
import { freeRange } from '../../support/ports.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('credentials of a stream');

const credentials = () => makeCredentials(new Date(Date.now() + 3_600_000));

s('a request without credentials is rejected, unless the configuration makes encryption optional', async () => {
  await using server = await TestServer.start({ encryption: 'required' });
  const asked = { uid: randomUUID(), role: 'PROD', numConn: 1, rate: 10_000 };
  assert.match(await refused(server.peer.control.req(asked), 'SCI_ENCRYPTION_REQUIRED'), /without encryption/);
  const udp = { ...asked, transport: 'udp' };
  assert.match(
    await refused(server.peer.control.req(udp), 'SCI_ENCRYPTION_REQUIRED'),
    /UDP streams, which cannot be encrypted/,
  );
  assert.equal((await server.peer.streams.list({ ended: true })).streams, [], 'nothing was recorded');
  assert.is((await server.peer.streams.describeServer({})).gateways[0]?.portsInUse, 0);
});

s('if encryption is optional, a request without credentials is served and reported as not encrypted', async () => {
  await using server = await TestServer.start();
  const { uid, req } = await server.setUp();
  assert.is(req.stream?.encryption, 'none');
  const stream = await server.peer.streams.get({ uid });
  assert.is(stream.encryption, 'none');
  assert.is(stream.restarts, 0);
});

s('credentials that do not belong together are rejected before anything is reserved', async () => {
  await using server = await TestServer.start();
  const [one, other] = [credentials(), credentials()];
  const request = { role: 'PROD', numConn: 1, rate: 1 };
  const req = (tls: object): Promise<unknown> => server.peer.control.req({ ...request, uid: randomUUID(), tls });
  for (const wrong of [{}, { ...one.from, key: other.from.key }, { ...one.from, ca: other.from.ca }]) {
    const message = await refused(req(wrong), 'SCI_CREDENTIALS_INVALID');
    assert.not.match(message, 'PRIVATE KEY');
  }
  assert.match(await refused(req({ ...one.from, peer: 'a\nb' }), 'SCI_CREDENTIALS_INVALID'), 'peer');
  assert.match(await refused(req({ ...one.from, key: 'x'.repeat(9000) }), 'SCI_CREDENTIALS_INVALID'), 'longer');
  await refused(
    server.peer.control.req({ ...request, uid: randomUUID(), transport: 'udp', tls: one.from }),
    'SCI_PROXY_UNSUPPORTED',
  );
  assert.equal(await server.leftovers(), NOTHING);
});

s('the key is in no answer, record or log, even when the stream ends', async () => {
  await using server = await TestServer.start();
  const { from } = credentials();
  const [, secret = ''] = from.key.split('\n');
  const uid = randomUUID();
  const answers: unknown[] = await Promise.all([
    server.peer.control.req({ uid, role: 'PROD', numConn: 1, rate: 1, tls: from }),
    server.peer.control.hello({ uid, role: 'PROD' }),
  ]);
  answers.push(await server.peer.control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] }));
  const stream = await server.peer.streams.get({ uid });
  assert.is(stream.encryption, 'tls');
  answers.push(stream, await server.peer.control.release({ uid }), await server.peer.streams.list({ ended: true }));
  const text = JSON.stringify(answers, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  assert.match(text, uid);
  assert.not(text.includes(secret));
  assert.not(server.log.text.includes(secret));
  for (const entry of await readdir(server.state, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    assert.not((await readFile(join(entry.parentPath, entry.name), 'latin1')).includes(secret), entry.name);
  }
});

/** A gateway with a proxy of these abilities. The test must never start it. */
async function gatewayWith(capabilities: Partial<S2DSCapabilities>) {
  const supports = { tcp: true, udp: true, tls: true, rateLimit: false, liveRetarget: true, statistics: true };
  const provider = proxyProvider({
    id: 'fixture',
    options: { '~standard': { version: 1, vendor: 'test', validate: () => ({ value: {} }) } },
    create: () => ({ supports: { ...supports, ...capabilities } }) as S2DS,
  });
  const builtIns = [...BUILT_INS, { provider, summary: 'a proxy of this test' }];
  const providers = new Providers({ builtIns, plugins: [], config: { proxies: {}, runtimes: {}, plugins: [] } });
  const directory = await temporaryDirectory();
  const ports = await freeRange(1);
  const settings = { name: 'gw', wan: '127.0.0.1', lan: '127.0.0.1', ports, proxy: 'fixture', runtime: 'process' };
  const server = new LocalGateway(settings, providers, silentLogger, directory.path);
  await server.open();
  const dispose = async (): Promise<void> => {
    await server.close();
    await directory.remove();
  };
  return { server, [Symbol.asyncDispose]: dispose };
}

s('a proxy without the required ability is rejected before ports are taken', async () => {
  const tls = credentials().from;
  for (const [capabilities, wanted, message] of [
    [{ tls: false }, { transport: 'tcp', encryption: 'tls' }, 'cannot encrypt TCP'],
    [{}, { transport: 'udp', encryption: 'tls' }, 'cannot encrypt UDP'],
    [{ plain: false }, { transport: 'tcp' }, 'carries only encrypted streams'],
    [{ udp: false }, { transport: 'udp', proxy: 'fixture' }, 'cannot carry UDP'],
  ] as const) {
    await using gateway = await gatewayWith(capabilities);
    const spec = { ...testSpec, ...wanted };
    const reserved = gateway.server.reserve(randomUUID(), spec, spec.encryption === 'tls' ? tls : undefined);
    const error: unknown = await reserved.catch((thrown: unknown) => thrown);
    if (!(error instanceof S2DSException)) throw error;
    assert.is(error.code, 'SCI_PROXY_UNSUPPORTED');
    assert.match(error.message, message);
    assert.is((await gateway.server.describe()).portsInUse, 0);
  }
});

s('a UDP stream uses the relay, whatever the default of the gateway, unless a proxy is requested', async () => {
  for (const [wanted, proxy] of [
    [{ transport: 'udp' }, 'relay'],
    [{ transport: 'tcp' }, 'fixture'],
    [{ transport: 'udp', proxy: 'fixture' }, 'fixture'],
  ] as const) {
    await using gateway = await gatewayWith({});
    const reserved = await gateway.server.reserve(randomUUID(), { ...testSpec, ...wanted }, undefined);
    assert.is(reserved.proxy, proxy);
  }
});

s('a control server without encryption gets no stream, unless plain streams are requested', async () => {
  await using from = await oldServer(5100);
  await using to = await oldServer(5200);
  const directory = await temporaryDirectory();
  await using client = new S2UC({}, { trust: { insecure: true }, stateDir: directory.path });
  const wish = { from: from.address, to: to.address, producer: ['10.0.0.1:5001'], verify: false };
  const error: unknown = await client.up(wish).catch((thrown: unknown) => thrown);
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, 'SCI_PROXY_UNSUPPORTED');
  assert.match(error.message, /^(In|Out)bound side 127\.0\.0\.1:\d+: The control server did not encrypt/);
  for (const { calls } of [from, to]) {
    assert.not(calls.includes('update'), 'nothing was connected');
    // The inbound side may not have been requested yet.
    assert.ok(calls.length === 0 || calls.at(-1) === 'release', calls.join());
  }
  assert.equal(await readdir(join(directory.path, 'streams')), []);
  const { initial } = await client.up({ ...wish, encryption: 'none' });
  assert.is(initial.encryption, 'none');
  await directory.remove();
});

s.run();
