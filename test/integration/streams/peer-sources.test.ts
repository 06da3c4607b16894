/** Listeners that accept only the gateway of the other side: its facility reports the address, or the user names it. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import { resolveEndpoint, S2UC, type StreamPlan } from '@scistream/core/client';
import { exchange, named, tcpServer } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { freeRange } from '../../support/ports.js';
import { LAN, TestServer, toAddress, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('peer sources');

/** Contains the addresses of all test gateways. */
const HERE = '127.0.0.0/8';
/** Contains none. */
const ELSEWHERE = '192.0.2.0/24';

const endpointOf = ({ listening: { address, fingerprint = '' } }: TestServer) =>
  resolveEndpoint(address, {}, { fingerprint });

/**
 * A facility whose gateway reports these sources.
 * @param down Whether it has another gateway, which does not run.
 */
async function facility(advertiseSources?: string[], down = false): Promise<TestServer> {
  const gateway = async (name: string, s2ds: string) => ({
    name,
    wan: WAN,
    lan: LAN,
    ports: await freeRange(4),
    proxy: 'relay',
    runtime: 'process',
    s2ds,
  });
  const own = { ...(await gateway('dtn1', 'embedded')), ...(advertiseSources && { advertiseSources }) };
  return TestServer.start({ gateways: [own, ...(down ? [await gateway('dtn2', 'unix:/nonexistent')] : [])] });
}

async function up(inbound: TestServer, outbound: TestServer, plan: Partial<StreamPlan> = {}) {
  const client = new S2UC({}, { stateDir: join(inbound.state, 'client') });
  const target = await tcpServer(named('t'));
  const wanted = { from: endpointOf(inbound), to: endpointOf(outbound), producer: [formatAddress(target.address)] };
  const stream = await client.up({ ...wanted, ...plan });
  const { from } = await stream.status();
  return {
    sources: from?.sources,
    listener: toAddress(from?.listeners[0] ?? ''),
    ask: () => exchange(toAddress(stream.connect[0] ?? ''), 'x'),
    async [Symbol.asyncDispose](): Promise<void> {
      await stream.down();
      await client[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    },
  };
}

s('the inbound side accepts only the sources that the other facility reports', async () => {
  await using inbound = await facility();
  await using outbound = await facility([HERE, ELSEWHERE]);
  await using stream = await up(inbound, outbound);
  assert.equal(stream.sources, [HERE, ELSEWHERE]);
  assert.is(await stream.ask(), 'tx');
});

s('other sources are rejected at the listener', async () => {
  await using inbound = await facility();
  await using outbound = await facility([ELSEWHERE]);
  await using stream = await up(inbound, outbound, { verify: 'report' });
  assert.equal(stream.sources, [ELSEWHERE]);
  await exchange(stream.listener, 'x').then(assert.unreachable, () => undefined);
});

s('if one gateway of the other facility is unknown, or the user accepts any, all sources are accepted', async () => {
  await using inbound = await facility();
  await using outbound = await facility([ELSEWHERE], true);
  await using stream = await up(inbound, outbound);
  assert.equal(stream.sources, []);
  await using reporting = await facility([ELSEWHERE]);
  await using open = await up(inbound, reporting, { sources: [] });
  assert.equal(open.sources, []);
  assert.is(await open.ask(), 'tx');
});

s('sources of the user replace the reported ones', async () => {
  await using inbound = await facility();
  await using outbound = await facility([ELSEWHERE]);
  await using stream = await up(inbound, outbound, { sources: ['127.0.0.0/16'] });
  assert.equal(stream.sources, ['127.0.0.0/16']);
  assert.is(await stream.ask(), 'tx');
});

s('a control server rejects sources that are no networks', async () => {
  await using inbound = await facility();
  for (const sources of [['10.0.0.1/8'], ['x'], Array.from({ length: 65 }, () => HERE)]) {
    const request = { uid: 'a-stream-with-sources', role: 'PROD', numConn: 1, sources };
    await refused(inbound.peer.control.req(request), 'SCI_USAGE');
  }
});

s('sources of the user that are no networks are an error, and nothing remains', async () => {
  await using inbound = await facility();
  await using outbound = await facility();
  const client = new S2UC({}, { stateDir: join(inbound.state, 'client') });
  const plan = { from: endpointOf(inbound), to: endpointOf(outbound), producer: ['127.0.0.1:9'] };
  const error = await client.up({ ...plan, sources: ['no network'] }).catch((thrown: unknown) => thrown);
  assert.ok(SciStreamError.is(error), String(error));
  await client[Symbol.asyncDispose]();
  assert.equal((await inbound.peer.streams.list({})).streams, []);
});

s.run();
