import { once } from 'node:events';
import { constants, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

import { ControlClient, resolveEndpoint } from '@scistream/core/client';

const s = suite('calls that a server does not begin');

/** An answer without content. */
const EMPTY = Buffer.alloc(5);
const HEADERS = { ':status': 200, 'content-type': 'application/grpc+proto' };

s('a call is sent again if the server refuses its stream, because it closes the connection', async () => {
  let calls = 0;
  const server = createServer().on('stream', (stream) => {
    calls += 1;
    stream.on('error', () => undefined);
    if (calls === 1) return void stream.close(constants.NGHTTP2_REFUSED_STREAM);
    stream.respond(HEADERS, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(EMPTY);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const client = new ControlClient(resolveEndpoint(`127.0.0.1:${port}`, {}, { insecure: true }));
  try {
    assert.equal(await client.list(false), []);
    assert.is(calls, 2);
  } finally {
    client.close();
    server.close();
  }
});

s.run();
