import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { ControlClient, resolveEndpoint, S2UC, type TrustSettings } from '@scistream/core/client';

const s = suite<{ server: Server; sockets: Set<Socket>; address: string; answer: (socket: Socket) => void }>(
  'control client',
);

/** Starts a TCP server. Each test sets what it does with a connection. */
s.before.each(async (context) => {
  context.sockets = new Set();
  context.answer = () => undefined;
  context.server = createServer((socket) => {
    context.sockets.add(socket.on('error', () => undefined));
    socket.once('data', () => context.answer(socket));
  });
  context.server.listen(0, '127.0.0.1');
  await once(context.server, 'listening');
  context.address = `127.0.0.1:${(context.server.address() as AddressInfo).port}`;
});
s.after.each(async ({ server, sockets }) => {
  for (const socket of sockets) socket.destroy();
  if (!server.listening) return;
  server.close();
  await once(server, 'close');
});

/** Calls the server and returns the error. */
async function failure(
  address: string,
  trust: TrustSettings,
  deadlineMs = 5000,
  signal?: AbortSignal,
): Promise<unknown> {
  const client = new ControlClient(resolveEndpoint(address, {}, trust));
  try {
    await client.describe({ deadlineMs, signal });
  } catch (error) {
    return error;
  } finally {
    client.close();
  }
  throw new Error('the call succeeded');
}

const ours = (error: unknown): SciStreamError => {
  if (SciStreamError.is(error)) return error;
  throw error;
};

const PIN = { fingerprint: `sha256:${'00'.repeat(32)}` };

for (const trust of [{}, PIN, { insecure: true }]) {
  const kind = Object.keys(trust).join() || 'system';

  s(`a refused connection is an error with the address of the server (${kind})`, async ({ server, address }) => {
    server.close();
    await once(server, 'close');
    const error = ours(await failure(address, trust));
    assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
    assert.match(error.message, address);
  });

  s(`a silent server runs into the deadline (${kind})`, async ({ address }) => {
    assert.is(ours(await failure(address, trust, 200)).code, 'SCI_DEADLINE');
  });

  s(`a server that closes the connection is unreachable (${kind})`, async (context) => {
    context.answer = (socket) => socket.destroy();
    assert.is(ours(await failure(context.address, trust)).code, 'SCI_S2CS_UNREACHABLE');
  });

  s(`a server with another protocol is unreachable (${kind})`, async (context) => {
    context.answer = (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    assert.is(ours(await failure(context.address, trust)).code, 'SCI_S2CS_UNREACHABLE');
  });

  s(`an aborted call throws the reason of the signal (${kind})`, async ({ address }) => {
    const reason = new Error('enough');
    const abort = new AbortController();
    const failed = failure(address, trust, 5000, abort.signal);
    abort.abort(reason);
    assert.is(await failed, reason);
  });
}

s('sends nothing when the configured token is missing', async ({ address, sockets }) => {
  const error = ours(await failure(address, { insecure: true, token: { env: 'SCISTREAM_NO_SUCH_TOKEN' } }));
  assert.is(error.code, 'SCI_UNAUTHENTICATED');
  assert.match(error.message, 'SCISTREAM_NO_SUCH_TOKEN');
  assert.is(sockets.size, 0);
});

s('rejects contradictory trust, a missing CA file and unknown servers before it connects', async ({ address }) => {
  const code = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      return ours(error).code;
    }
    throw new Error('it was accepted');
  };
  assert.is(
    code(() => resolveEndpoint(address, {}, { insecure: true, ca: '/ca.crt' })),
    'SCI_USAGE',
  );
  assert.is(
    code(() => resolveEndpoint(`${address}#sha256:12`, {})),
    'SCI_CONFIG_INVALID',
  );
  assert.is(
    code(() => resolveEndpoint('nowhere', {})),
    'SCI_FACILITY_UNKNOWN',
  );
  assert.is(
    code(() => resolveEndpoint('constructor', {})),
    'SCI_FACILITY_UNKNOWN',
  );
  assert.is(
    code(() => new ControlClient(resolveEndpoint(address, {}, { ca: '/no/such/ca.crt' }))),
    'SCI_CONFIG_NOT_FOUND',
  );
});

s('a fingerprint after the address overrides the default trust', () => {
  const pin = `sha256:${'AB:'.repeat(31)}AB`;
  assert.equal(resolveEndpoint(`gw.example:5000#${pin}`, {}, { insecure: true }).trust, {
    kind: 'pin',
    fingerprint: `sha256:${'ab'.repeat(32)}`,
  });
});

s('up rejects an invalid plan without a connection', async ({ address, sockets }) => {
  const client = new S2UC({}, { trust: { insecure: true }, stateDir: '/nonexistent' });
  const sides = { from: address, to: '127.0.0.1:1', producer: ['10.0.0.1:5001'] };
  const rejected = async (options: object): Promise<string> =>
    client.up({ ...sides, ...options }).then(
      () => 'accepted',
      (error: unknown) => ours(error).code,
    );
  assert.is(await rejected({ to: address }), 'SCI_USAGE');
  assert.is(await rejected({ transport: 'udp' }), 'SCI_PROXY_UNSUPPORTED', 'UDP cannot be encrypted');
  assert.is(await rejected({ producer: [] }), 'SCI_TARGETS_INVALID');
  assert.is(await rejected({ producer: ['10.0.0.1'] }), 'SCI_ADDRESS_INVALID');
  assert.is(await rejected({ connections: 0 }), 'SCI_CONNECTIONS_INVALID');
  assert.is(await rejected({ bitsPerSecond: -1 }), 'SCI_RATE_INVALID');
  assert.is(await rejected({ lifetimeMs: NaN }), 'SCI_DURATION_INVALID');
  assert.is(await rejected({ uid: '../..' }), 'SCI_UID_INVALID');
  assert.is(sockets.size, 0);
  client.close();
});

s.run();
