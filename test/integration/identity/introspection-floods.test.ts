/** Strangers whose tokens an issuer checks slowly: they take the places of no caller with an accepted token. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { RawClient, type Answer } from '../../support/raw-client.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('introspection floods');

const WAIT_MS = 40_000;
const WHO_AM_I = 'scistream.v1.Streams/WhoAmI';

/** An issuer that accepts tokens of alice and rejects those of nobody immediately, and answers for no other one. */
async function slowIssuer() {
  const held = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const active = body.includes('token=alice');
      if (!active && !body.includes('token=nobody')) return held.add(response);
      const claims = { active, iss: url, aud: 'here', sub: 'alice', exp: Math.floor(Date.now() / 1000) + 600 };
      return response.setHeader('content-type', 'application/json').end(JSON.stringify(claims));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    held,
    async [Symbol.asyncDispose](): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const startServer = (url: string, limits = {}, ...others: readonly { use: string }[]): Promise<TestServer> => {
  process.env['TEST_INTROSPECTION_SECRET'] = 'secret';
  const secretEnv = 'TEST_INTROSPECTION_SECRET';
  const introspection = { clientId: 's2cs', secretEnv, endpoint: `${url}/introspect`, cache: '1ms' };
  return TestServer.start({
    auth: [{ use: 'oidc', issuer: url, audience: 'here', timeout: '60s', introspection }, ...others],
    limits,
  });
};

/** Calls with different tokens from one address. */
async function strangers(server: TestServer, localAddress: string, count: number, name = 'wrong') {
  const client = await RawClient.open(server.peerOptions.url, { localAddress } as object);
  const call = (i: number): Promise<Answer | undefined> =>
    client
      .call(WHO_AM_I, { 'content-type': 'application/json', authorization: `${name}-${localAddress}-${i}` }, '{}')
      .catch(() => undefined);
  return { client, calls: Array.from({ length: count }, (_, i) => call(i)) };
}

s('an address gets ten checks at a time, and another address is not affected', async () => {
  await using issuer = await slowIssuer();
  await using server = await startServer(issuer.url);
  const { client, calls } = await strangers(server, '127.0.0.9', 20);
  await eventually(() => assert.is(issuer.held.size, 10), WAIT_MS);
  assert.is((await Promise.race(calls))?.status, 429);
  const alice = await server.connect('alice-1');
  assert.is((await alice.streams.whoAmI({})).subject, 'alice');
  client.close();
});

s('strangers of many addresses leave half of the checks to tokens that were active recently', async () => {
  await using issuer = await slowIssuer();
  await using server = await startServer(issuer.url);
  const alice = await server.connect('alice-1');
  await alice.streams.whoAmI({});
  const addresses = Array.from({ length: 7 }, (_, i) => `127.0.0.${20 + i}`);
  const floods = await Promise.all(addresses.map((address) => strangers(server, address, 20)));
  await eventually(() => assert.is(issuer.held.size, 50), WAIT_MS);
  for (let i = 0; i < 8; i += 1) assert.is((await alice.streams.whoAmI({})).subject, 'alice');
  await refused((await server.connect('alice-2')).streams.whoAmI({}), 'SCI_RATE_LIMITED');
  for (const { client } of floods) client.close();
});

s('a call that is rejected because too many tokens are checked counts as a request', async () => {
  await using issuer = await slowIssuer();
  await using server = await startServer(issuer.url, { strangerRequestsPerSecond: 1.2 });
  const { client } = await strangers(server, '127.0.0.9', 10);
  await eventually(() => assert.is(issuer.held.size, 10), WAIT_MS);
  for (const [i, says] of ['being checked', 'being checked', 'per second'].entries()) {
    const { client: other, calls } = await strangers(server, '127.0.0.9', 1, `other-${i}`);
    assert.match(String((await calls[0])?.body), says);
    other.close();
  }
  client.close();
});

/** Sends calls together on one connection. If they are more than a new connection may carry, another call precedes them. */
async function mustAllBeServed(server: TestServer, authorization: string, count: number): Promise<void> {
  const client = await RawClient.open(server.peerOptions.url);
  const call = (): Promise<Answer> =>
    client.call(WHO_AM_I, { 'content-type': 'application/json', authorization }, '{}');
  try {
    if (count > 128) await call();
    const answers = await Promise.all(Array.from({ length: count }, call));
    assert.is(answers.filter(({ status }) => status === 200).length, count);
  } finally {
    client.close();
  }
}

s('the first calls of a connection may arrive together: all are served', async () => {
  await using issuer = await slowIssuer();
  await using server = await startServer(issuer.url);
  await mustAllBeServed(server, 'alice-1', 128);
});

s('where every caller is accepted, more calls may arrive together than strangers may make', async () => {
  await using issuer = await slowIssuer();
  await using server = await startServer(issuer.url, {}, { use: 'none' });
  await mustAllBeServed(server, 'nobody', 300);
});

s.run();
