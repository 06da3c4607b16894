/** A control server that rejects a caller for too many requests: our client waits as told, and continues. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { container } from 'tsyringe';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import { ControlClient, resolveEndpoint, S2UC } from '@scistream/core/client';
import { loadConfig } from '@scistream/core/config';
import { ControlServer, registerServer, TOKENS, type Policy } from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { CapturedLog } from '../../support/logs.js';
import { freeRange } from '../../support/ports.js';
import { TestServer, toAddress } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('rate limits');
const PATIENCE_MS = 60_000;

const endpointOf = ({ listening: { address, fingerprint = '' } }: TestServer) =>
  resolveEndpoint(address, {}, { fingerprint });

/** Sends more calls than the burst allows until one is rejected. With `auth: none` all callers of an address are one. */
async function useUp({ peer }: TestServer): Promise<void> {
  for (;;) {
    const calls = await Promise.allSettled(Array.from({ length: 40 }, () => peer.streams.whoAmI({})));
    if (calls.some(({ status }) => status === 'rejected')) return;
  }
}

s('a caller without requests left makes, views and ends a stream', async () => {
  const limits = { requestsPerSecond: 3 };
  await using inbound = await TestServer.start({ limits });
  await using outbound = await TestServer.start({ limits });
  await using target = await tcpServer(named('t'));
  await using client = new S2UC({}, { stateDir: inbound.state });
  await Promise.all([useUp(inbound), useUp(outbound)]);
  const stream = await client.up({
    from: endpointOf(inbound),
    to: endpointOf(outbound),
    producer: [formatAddress(target.address)],
    waitMs: 60_000,
  });
  assert.is(await exchange(toAddress(stream.connect[0] ?? ''), 'x'), 'tx');
  await Promise.all([useUp(inbound), useUp(outbound)]);
  assert.is((await stream.status()).uid, stream.uid);
  await useUp(inbound);
  for await (const { state } of stream.watch()) {
    assert.is.not(state, 'failed');
    break;
  }
  await Promise.all([useUp(inbound), useUp(outbound)]);
  await stream.down();
  assert.equal([await inbound.leftovers(), await outbound.leftovers()], [NOTHING, NOTHING]);
});

s('HELLO is retried if REQ arrives so late that HELLO was rejected', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 's2cs.conf');
  const { first, last } = await freeRange(4);
  const gateways = [{ ports: `${first}-${last}` }];
  const state = join(directory.path, 'state');
  await writeFile(file, JSON.stringify({ state, encryption: 'optional', gateways }));
  const { config } = await loadConfig('s2cs', { file, env: {} });
  const log = new CapturedLog();
  const own = container.createChildContainer();
  registerServer(own, { config: { ...config, listen: { host: '127.0.0.1', port: 0 } }, logger: log, plugins: [] });
  const late: Policy = {
    async check(_identity, { kind }) {
      if (kind === 'request') await eventually(() => assert.match(log.text, 'SCI_STREAM_NOT_FOUND'), PATIENCE_MS);
      return {};
    },
  };
  own.register(TOKENS.Policy, { useValue: late });
  const server = own.resolve(ControlServer);
  const { address, fingerprint = '' } = await server.start();
  try {
    await using client = new S2UC({}, { stateDir: directory.path });
    const from = resolveEndpoint(address, {}, { fingerprint });
    const { handle } = await client.inbound({ from, producer: ['127.0.0.1:9'], waitMs: 60_000, verify: false });
    assert.is((await handle.status()).state, 'ready');
  } finally {
    await server.stop({ release: true });
  }
});

s('a caller that would wait too long gets an error immediately, and nothing is left', async () => {
  await using server = await TestServer.start({ limits: { requestsPerSecond: 0.01 } });
  const client = new ControlClient(endpointOf(server));
  await useUp(server);
  try {
    await client.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }, { deadlineMs: 60_000 });
    assert.unreachable('served');
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    assert.is(error.code, 'SCI_RATE_LIMITED');
    assert.match(error.suggestions.join(), /Try again in \d+ s/);
  } finally {
    client.close();
  }
  assert.equal(await server.leftovers(), NOTHING);
});

s('a signal ends the wait', async () => {
  await using server = await TestServer.start({ limits: { requestsPerSecond: 0.1 } });
  const client = new ControlClient(endpointOf(server));
  await useUp(server);
  const stop = new AbortController();
  const outcome = client.whoAmI({ deadlineMs: 120_000, signal: stop.signal }).catch((error: unknown) => error);
  const reason = new Error('enough');
  // The server asks for a wait long before all of these are sent.
  for (let i = 0; i < 5; i += 1) await useUp(server);
  stop.abort(reason);
  assert.is(await outcome, reason);
  client.close();
});

s('the updates of one stream are limited, and those of other streams are not', async () => {
  await using server = await TestServer.start({ limits: { updatesPerSecond: 1 } });
  const [busy, other] = [await server.setUp(), await server.setUp()];
  const update = (uid: string): Promise<unknown> =>
    server.peer.control.update({ uid, remoteListeners: ['192.0.2.1:9'] });
  const answers = await Promise.allSettled(Array.from({ length: 30 }, () => update(busy.uid)));
  const accepted = answers.filter(({ status }) => status === 'fulfilled').length;
  assert.ok(accepted >= 10 && accepted < 30, `${accepted} accepted`);
  await refused(Promise.all(Array.from({ length: 30 }, () => update(busy.uid))), 'SCI_RATE_LIMITED');
  await update(other.uid);
});

s.run();
