/** A data server that is controlled over TCP: mutual TLS, one control server, and nothing for others. */
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { fingerprintOf, parseCertificate } from '@scistream/core/pki';
import { createProviders, GatewayDaemon, LocalGateway } from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { TestAuthority, type CertificateFiles } from '../../support/authority.js';
import { refused } from '../../support/clients.js';
import { leftovers, NOTHING } from '../../support/leftovers.js';
import { CapturedLog } from '../../support/logs.js';
import { freeRange } from '../../support/ports.js';
import { GATEWAY, LAN, TestServer, WAN } from '../../support/server.js';
import { knock } from '../../support/silence.js';
import { suite } from '../../support/suite.js';

const s = suite('data server over TLS');

const HOST = '127.0.0.1';
const PATIENCE_MS = 60_000;
const LONG_AGO = new Date(Date.now() - 100 * 86_400_000);

/** A data server on a loopback port, and its control servers. @param only Subject of the only accepted certificate. */
async function startDaemon(only?: string) {
  const directory = await temporaryDirectory();
  const path = (name: string): string => join(directory.path, name);
  const ca = await TestAuthority.make(directory.path, 'ca', LONG_AGO);
  const other = await TestAuthority.make(directory.path, 'other');
  const { first, last } = await freeRange(9);
  const ports = { first, last: last - 1 };
  const address = { host: HOST, port: last };
  const settings = { name: GATEWAY, wan: WAN, lan: LAN, ports, proxy: 'relay', runtime: 'process' };
  const log = new CapturedLog();
  const state = path('s2ds');
  const providers = createProviders([], { proxies: { relay: { processes: 1 } }, runtimes: {}, plugins: [] });
  const tls = { ...(await ca.server('dtn1', HOST)), clientCa: ca.file };
  const pin = async ({ cert }: CertificateFiles) => ({
    tls,
    s2cs: { fingerprint: fingerprintOf(parseCertificate(await readFile(cert, 'utf8'), cert)) },
  });
  const chosen = await ca.issue(only ?? 's2cs');
  const daemon = new GatewayDaemon(
    { listen: `${HOST}:${last}`, state, tls, ...(only !== undefined && (await pin(chosen))) },
    new LocalGateway(settings, providers, log, state),
    log,
  );
  await daemon.start();
  const entry = (files: CertificateFiles, authority = ca.file) => ({
    ...settings,
    s2ds: `${HOST}:${last}`,
    tls: { ...files, ca: authority },
  });
  const close = async (): Promise<void> => {
    await daemon.stop({ release: true });
    await directory.remove();
  };
  const rePin = async (files: CertificateFiles): Promise<void> => daemon.reload(await pin(files));
  return { ca, other, entry, address, log, path, state, ports, chosen, rePin, [Symbol.asyncDispose]: close };
}

/** Waits until a control server reports this about its gateway: an error, or `up`. */
async function gatewaySays(server: TestServer, expected: RegExp): Promise<void> {
  await eventually(async () => {
    const { gateways } = await server.peer.streams.describeServer({});
    const error = gateways[0]?.error;
    assert.match(error ? `${error.code} ${error.message}` : 'up', expected);
  }, PATIENCE_MS);
}

s('carries a stream from REQ to RELEASE, and leaves nothing', async () => {
  await using daemon = await startDaemon();
  const own = await daemon.ca.issue('s2cs');
  await using server = await TestServer.start({ gateways: [daemon.entry(own)] });
  await gatewaySays(server, /^up$/);
  await using target = await tcpServer(named('a'));
  const { uid, entry } = await server.setUp({ targets: [`${target.address.host}:${target.address.port}`] });
  assert.is(await exchange(entry, 'x'), 'ax');
  await server.peer.control.release({ uid });
  assert.equal(await leftovers(daemon.state, daemon.ports), NOTHING);
});

s('strangers are rejected during the handshake', async () => {
  await using daemon = await startDaemon();
  const { ca, other, address, log } = daemon;
  const late = await ca.issue('late', { days: 1, now: LONG_AGO });
  const strangers = [undefined, late, await other.issue('s2cs'), await ca.server('a-server', HOST)];
  for (const files of strangers) assert.equal(await knock(address, files), { bytes: 0, ended: true });
  assert.equal(await knock(address, await ca.issue('s2cs'), 'TLSv1.2'), { bytes: 0, ended: true });
  assert.is((await knock(address, await ca.issue('s2cs'))).ended, false);
  await eventually(() => assert.match(log.text, /TLS handshake failed.*"peer":"127.0.0.1"/), PATIENCE_MS);
});

s('silent connections of strangers are limited, and the control server gets in', async () => {
  await using daemon = await startDaemon();
  const { address, log } = daemon;
  const silent = Array.from({ length: 100 }, (_, i) =>
    connect({ ...address, localAddress: `127.0.0.${10 + (i % 10)}` }).on('error', () => undefined),
  );
  const closed = (): number => silent.filter((socket) => socket.destroyed).length;
  // Half of 64 is for strangers.
  await eventually(() => assert.ok(closed() >= 68, String(closed())), PATIENCE_MS);
  assert.match(log.text, /too many connections/);
  await using server = await TestServer.start({ gateways: [daemon.entry(await daemon.ca.issue('s2cs'))] });
  await gatewaySays(server, /^up$/);
  for (const socket of silent) socket.destroy();
});

s('a control server with unsuitable certificates keeps running and reports the gateway as down', async () => {
  await using daemon = await startDaemon();
  const { ca, other, entry } = daemon;
  for (const wrong of [entry(await other.issue('s2cs')), entry(await ca.issue('s2cs'), other.file)]) {
    await using server = await TestServer.start({ gateways: [wrong] });
    // More than once: every attempt is rejected in the same way, and none ends the process.
    await gatewaySays(server, /^SCI_S2DS_UNREACHABLE/);
    assert.is(await server.setUp().catch(() => 'refused'), 'refused');
    await gatewaySays(server, /^SCI_S2DS_UNREACHABLE/);
  }
  const broken = { ...entry(await ca.issue('s2cs')), tls: { ca: ca.file, cert: ca.file, key: ca.file } };
  const error: unknown = await TestServer.start({ gateways: [broken] }).catch((thrown: unknown) => thrown);
  assert.ok(SciStreamError.is(error) && error.code === 'SCI_CONFIG_INVALID', String(error));
});

s('accepts one control server: another one, or its id with another certificate, is rejected', async () => {
  await using daemon = await startDaemon();
  const { ca, entry, path, state } = daemon;
  const first = path('first');
  await mkdir(first);
  {
    await using server = await TestServer.start({ gateways: [entry(await ca.issue('s2cs'))], state: first });
    await gatewaySays(server, /^up$/);
  }
  assert.match(await readFile(join(state, 's2cs'), 'utf8'), /^[\w-]{8,64} CN=s2cs$/);
  const copy = path('copy');
  await mkdir(copy);
  await copyFile(join(first, 'owner'), join(copy, 'owner'));
  for (const [subject, directory, expected] of [
    ['alice', copy, /^SCI_FORBIDDEN/],
    ['s2cs', path('second'), /^SCI_FORBIDDEN/],
    // A renewed certificate belongs to the same control server.
    ['s2cs', first, /^up$/],
  ] as const) {
    await mkdir(directory, { recursive: true });
    await using server = await TestServer.start({ gateways: [entry(await ca.issue(subject))], state: directory });
    await gatewaySays(server, expected);
  }
});

s('if the operator names one certificate, no other of the same CA is accepted from the next call on', async () => {
  await using daemon = await startDaemon('chosen');
  const { ca, entry, path, chosen, rePin } = daemon;
  const state = path('first');
  await mkdir(state);
  const unnamed = await ca.issue('s2cs');
  {
    await using server = await TestServer.start({ gateways: [entry(unnamed)], state });
    await gatewaySays(server, /^SCI_FORBIDDEN Only the certificate sha256:/);
  }
  {
    await using server = await TestServer.start({ gateways: [entry(chosen)], state });
    await gatewaySays(server, /^up$/);
    const { uid } = await server.setUp();
    await rePin(unnamed);
    await refused(server.peer.control.update({ uid, remoteListeners: ['127.0.0.1:9'] }), 'SCI_FORBIDDEN');
    await rePin(chosen);
    await server.peer.control.release({ uid });
    await rePin(unnamed);
  }
  // The same control server with another certificate, which also has another subject.
  await using server = await TestServer.start({ gateways: [entry(unnamed)], state });
  await gatewaySays(server, /^up$/);
});

s.run();
