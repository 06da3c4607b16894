/** A data server as a separate daemon behind a unix socket, under a control server. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { SciStreamError, silentLogger } from '@scistream/core';
import { createProviders, GatewayDaemon, LocalGateway } from '@scistream/core/internal';
import { eventually, exchange, expectCode, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { leftovers, NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { GATEWAY, LAN, TestServer, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('data server daemon');

/** A running data server daemon. `leftovers` tells what its streams left. */
async function startDaemon() {
  const directory = await temporaryDirectory();
  const state = join(directory.path, 's2ds');
  const s2ds = `unix:${join(directory.path, 's.sock')}` as const;
  const ports = await freeRange(16);
  const settings = { name: GATEWAY, wan: WAN, lan: LAN, ports, proxy: 'relay', runtime: 'process' };
  const providers = createProviders([], { proxies: { relay: { processes: 1 } }, runtimes: {}, plugins: [] });
  const gateway = new LocalGateway(settings, providers, silentLogger, state);
  const daemon = new GatewayDaemon({ listen: s2ds, state }, gateway, silentLogger);
  await daemon.start();
  const close = async (): Promise<void> => {
    await daemon.stop();
    await directory.remove();
  };
  return { s2ds, leftovers: () => leftovers(state, ports), [Symbol.asyncDispose]: close };
}

s('carries a stream from REQ to RELEASE, and leaves nothing', async () => {
  await using daemon = await startDaemon();
  await using server = await TestServer.start({ s2ds: daemon.s2ds });
  await using a = await tcpServer(named('a'));
  await using b = await tcpServer(named('b'));
  const target = (to: typeof a): string => `${to.address.host}:${to.address.port}`;
  const { uid, entry } = await server.setUp({ targets: [target(a)] });
  assert.is(entry.host, WAN);
  assert.is(await exchange(entry, 'x'), 'ax');
  await server.peer.control.update({ uid, remoteListeners: [target(b)] });
  assert.is(await exchange(entry, 'x'), 'bx');
  // The relay may notice the end of a connection a moment after the client.
  await eventually(async () => assert.is(await server.stateOf(uid), 'idle'));
  const { statistics } = await server.peer.streams.get({ uid });
  assert.is(Number(statistics[0]?.connections), 2);
  await server.peer.control.release({ uid });
  assert.equal(await daemon.leftovers(), NOTHING);
});

s('errors of the data server reach the client with their code', async () => {
  await using daemon = await startDaemon();
  await using server = await TestServer.start({ s2ds: daemon.s2ds });
  const { uid } = await server.setUp({ targets: ['127.0.0.1:9'] });
  const error: unknown = await server.peer.control
    .update({ uid, remoteListeners: ['no-such-host.invalid:1'] })
    .catch((thrown: unknown) => thrown);
  assert.match(String(error), 'no-such-host.invalid');
  assert.is(await server.stateOf(uid), 'ready');
});

s('a control server that cannot listen does not disturb the streams of the running one', async () => {
  await using daemon = await startDaemon();
  await using first = await TestServer.start({ s2ds: daemon.s2ds });
  await using target = await tcpServer(named('a'));
  const { host, port } = target.address;
  const { uid, entry } = await first.setUp({ targets: [`${host}:${port}`] });
  const [, own] = first.listening.address.split(':');
  const listen = { host: '127.0.0.1', port: Number(own) };
  const error: unknown = await TestServer.start({ s2ds: daemon.s2ds, listen }).catch((thrown: unknown) => thrown);
  assert.ok(SciStreamError.is(error) && error.code === 'SCI_LISTEN_FAILED');
  assert.is(await exchange(entry, 'x'), 'ax');
  await eventually(async () => assert.is(await first.stateOf(uid), 'idle'));
});

s('a data server that cannot listen leaves its state directory unlocked', async () => {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 's.sock');
  const start = async () => {
    const settings = {
      name: GATEWAY,
      wan: WAN,
      lan: LAN,
      ports: await freeRange(2),
      proxy: 'relay',
      runtime: 'process',
    };
    const providers = createProviders([], { proxies: {}, runtimes: {}, plugins: [] });
    const state = join(directory.path, 's2ds');
    const gateway = new LocalGateway(settings, providers, silentLogger, state);
    const daemon = new GatewayDaemon({ listen: `unix:${path}`, state }, gateway, silentLogger);
    await daemon.start();
    return daemon;
  };
  await writeFile(path, 'not a socket');
  await expectCode('SCI_LISTEN_FAILED', start());
  await rm(path);
  const daemon = await start();
  await daemon.check();
  await daemon.stop();
  await directory.remove();
});

s.run();
