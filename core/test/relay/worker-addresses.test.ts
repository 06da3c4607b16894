/** The relay worker: targets with several addresses, and the reasons of failed handshakes. */
import { connect } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Authority } from '../support/credentials.js';
import { cleanUp, ending, freePort, readAll, startRelay, Target, until } from '../support/relay.js';
import type { Address, Relay, RelayOptions } from '../support/relay.js';

const PROD = 'prod.stream';
const CONS = 'cons.stream';
const authority = await Authority.make();
const foreign = await Authority.make();
const [prod, cons] = await Promise.all([authority.issue(PROD), authority.issue(CONS)]);

const s = suite('relay worker, several addresses');
s.after.each(cleanUp);

/** The worker of the inbound side, a TLS server. */
const inbound = (targets: Address[], more: RelayOptions = {}): Promise<Relay> =>
  startRelay({ targets, tls: { leg: 'listeners', peer: CONS }, files: { ...prod }, ...more });

/** The latest failed handshake of a worker. */
const failureOf = (relay: Relay): Promise<{ at: string; reason: string }> =>
  until('a failed handshake', async () => {
    const [reply] = await relay.say('{"cmd":"status"}');
    return reply?.['tlsFailure'] as { at: string; reason: string } | undefined;
  });

s('tries the addresses of a target in turn, and begins with the first', async () => {
  const port = await freePort();
  const [first, second] = [new Target((socket) => socket.end('1')), new Target((socket) => socket.end('2'))];
  const target = {
    host: '127.0.0.1',
    port,
    fallbacks: [
      { host: '127.0.0.3', port },
      { host: '127.0.0.2', port },
    ],
  };
  await second.listen(port, '127.0.0.2');
  const relay = await startRelay({ targets: [target] });
  assert.is((await readAll(relay.dial().end())).toString(), '2');
  await first.listen(port, '127.0.0.1');
  assert.is((await readAll(relay.dial().end())).toString(), '1');
  await until('closed', async () => (await relay.status()).open === 0);
  const { established, errors } = await relay.status();
  assert.equal([established, errors], [2, 0]);
  const [reply] = await relay.say(
    JSON.stringify({ cmd: 'targets', targets: [{ ...target, fallbacks: ['127.0.0.2'] }] }),
  );
  assert.is(reply?.['ok'], false);
});

s('tries the next address while a server does not complete the handshake, and names that as the reason', async () => {
  const silent = new Target((socket) => socket.resume());
  const { host, port } = await silent.listen();
  const far = await inbound([await new Target((socket) => socket.end('far')).listen()], {
    listeners: [{ host: '127.0.0.2', port }],
  });
  const near = await startRelay({
    targets: [{ host, port, fallbacks: far.listeners }],
    tls: { leg: 'targets', peer: PROD },
    files: { ...cons },
    connectTimeoutMs: 1000,
  });
  assert.is((await readAll(near.dial())).toString(), 'far');
  assert.is((await near.status()).errors, 0);
  await near.retarget({ host, port });
  const client = near.dial();
  const failure = await failureOf(near);
  client.destroy();
  const { at, reason } = failure;
  assert.ok(Date.parse(at) > 0);
  assert.match(reason, 'not completed in time');
});

s('reports why it rejected the certificate of a client', async () => {
  const far = await inbound([await new Target().listen()]);
  const own = await foreign.issue(CONS);
  const { host = '', port = 0 } = far.listeners[0] ?? {};
  const trust = { servername: PROD, cert: own['tls.crt'], key: own['tls.key'], ca: prod['ca.crt'] };
  await ending(connect({ host, port, ...trust }).resume());
  const failure = await failureOf(far);
  assert.match(failure.reason, /^TLS from the other gateway failed: client certificate: [A-Z_]+$/);
});

s.run();
