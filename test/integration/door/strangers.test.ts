/** Malformed and forged input: none of it ends a server, and no token goes to the wrong place. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';
import { S2UC } from '@scistream/core/client';
import { parseAddress } from '@scistream/core/internal';
import { refused } from '../../support/clients.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('strangers');

const LIST = '/scistream.v1.Streams/List';

/** Sends one HTTP/1.1 request unchanged, and returns the complete answer. */
async function raw(server: TestServer, request: string): Promise<string> {
  const { host, port } = parseAddress(server.listening.address);
  const socket = connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  await once(socket, 'secureConnect');
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
  socket.on('error', () => undefined);
  socket.end(request);
  await once(socket, 'close');
  return answer;
}

for (const host of ['a b', '[', '%', '::1:5000', '']) {
  s(`a request for the host ${JSON.stringify(host)} is answered, and the server keeps running`, async () => {
    await using server = await TestServer.start();
    const head = `POST ${LIST} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n`;
    assert.match(await raw(server, `${head}Connection: close\r\n\r\n{}`), /^HTTP\/1\.1 [24]00/);
    assert.equal((await server.peer.streams.list({})).streams, []);
  });
}

for (const path of ['http://[', '//', '/%', `/${'a'.repeat(4000)}`]) {
  s(`a request for the path ${path.slice(0, 12)} is rejected, and the server keeps running`, async () => {
    await using server = await TestServer.start();
    const answer = await raw(server, `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 4/);
    assert.equal((await server.peer.streams.list({})).streams, []);
  });
}

s('a wrong :authority over HTTP/2 does not end the server', async () => {
  await using server = await TestServer.start();
  const session = connectHttp2(`https://${server.listening.address}`, { rejectUnauthorized: false });
  const headers = { ':method': 'POST', ':path': LIST, ':authority': '%', 'content-type': 'application/json' };
  const stream = session.request(headers);
  stream.end('{}');
  const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
  session.destroy();
  assert.is(answer[':status'], 200);
});

s('a control server on an IPv6 address serves our client', async () => {
  await using server = await TestServer.start({ listen: { host: '::1', port: 0 } });
  const { address, fingerprint } = server.listening;
  await using client = new S2UC({ facilities: { aps: { s2cs: parseAddress(address), fingerprint } } });
  const { streams, unreachable } = await client.list();
  assert.equal([streams, unreachable], [[], []]);
});

s("a ticket's control server never sees the token of who uses the ticket", async () => {
  const token = 'token-of-bob';
  const sha256 = createHash('sha256').update(token).digest('hex');
  const auth = [{ use: 'token', tokens: [{ subject: 'bob', sha256 }] }];
  await using named = await TestServer.start({ auth });
  await using own = await TestServer.start({ auth });
  process.env.BOBS_TOKEN = token;
  try {
    const trust = { fingerprint: own.listening.fingerprint, token: { env: 'BOBS_TOKEN' } };
    await using client = new S2UC({}, { trust, stateDir: own.state });
    const ticket = {
      uid: 'a-stream-of-alice',
      s2cs: parseAddress(named.listening.address),
      fingerprint: named.listening.fingerprint ?? '',
      listeners: [{ host: '127.0.0.1', port: 9 }],
    };
    const accepting = { encryption: 'none', verify: 'report' } as const;
    await using stream = await client.outbound(ticket, { to: own.listening.address, ...accepting });
    assert.is(stream.connect.length, 1);
  } finally {
    delete process.env.BOBS_TOKEN;
  }
  const codes = named.log.lines.flatMap(({ fields }) => ('code' in fields ? [fields.code] : []));
  assert.ok(codes.length > 0, 'the named server got no request for a probe');
  assert.equal([...new Set(codes)], ['SCI_UNAUTHENTICATED']);
});

s('the wildcard address is never a target', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp({ targets: ['127.0.0.1:9'] });
  for (const target of ['0.0.0.0:80', '[::]:80']) {
    await refused(server.peer.control.update({ uid, remoteListeners: [target] }), 'SCI_ADDRESS_INVALID');
  }
  assert.equal((await server.peer.streams.get({ uid })).targets, ['127.0.0.1:9']);
});

s.run();
