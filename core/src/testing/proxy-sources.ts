import assert from 'node:assert/strict';
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Address } from '../contracts/address.js';
import { systemCode } from '../contracts/errors.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import type { StreamTls } from '../contracts/stream.js';
import { within } from '../contracts/wait.js';
import { testCredentials } from './credentials.js';
import { named, read } from './network.js';
import { type ProxyCases, expectCode, listener, type ProxyEnvironment } from './proxy-environment.js';
import { PairedS2DS } from './proxy-pair.js';
import { eventually } from './support.js';

/** This machine under two names, so that connections come from two addresses. */
const FRIEND = '127.0.0.1';
const STRANGER = '127.0.0.2';
/** Networks of the friend and of nobody here, none of which the stranger is in. */
const SOURCES = ['192.0.2.0/24', '2001:db8::/32', `${FRIEND}/32`];
const DEADLINE_MS = 30_000;

/** Who may connect: `supports.sources`, or the refusal. */
export const sourceCases: ProxyCases = {
  'lets in who comes from a network on the list, and cuts all others at the listener': async (env) => {
    const target = await Target.listen(env, 'a');
    const request = await started(env);
    if (!request) return;
    const address = listener(request);
    if (env.holds) await expectCut(address);
    await env.s2ds.updateTargets(request.uid, [target.address]);
    await expectCut(address);
    assert.equal(await hello(address, FRIEND), 'ahello');

    const second = await Target.listen(env, 'b');
    await env.s2ds.updateTargets(request.uid, [second.address]);
    await expectCut(address);
    assert.equal(await hello(address, FRIEND), 'bhello');

    env.succeed();
    assert.equal(await env.s2ds.adopt(request, [second.address]), true);
    await expectCut(address);
    assert.equal(await hello(address, FRIEND), 'bhello');
    assert.equal(target.accepted, 1, 'the target saw a stranger');
    assert.equal(second.accepted, 2, 'the target saw a stranger');
    if (!env.s2ds.supports.statistics) return;
    await eventually(async () => {
      const [counted] = (await env.s2ds.status(request.uid)).listeners;
      assert.ok((counted?.refused ?? 0) >= 3, 'cut connections are not counted');
      assert.equal(counted?.connections, 3, 'cut connections count as accepted');
    }, DEADLINE_MS);
  },

  'adopts nothing that lets other networks in': async (env) => {
    const request = await started(env);
    if (!request) return;
    env.succeed();
    assert.equal(await env.s2ds.adopt({ ...request, sources: ['192.0.2.0/24'] }, []), false);
    await env.expectNothingLeft();
  },

  'drops datagrams from a network that is not on the list': async (env) => {
    if (!env.s2ds.supports.udp) return;
    const request = await started(env, 'udp');
    if (!request) return;
    const heard: string[] = [];
    const server = await datagrams(env.hosts.v4);
    server.on('message', (message, from) => {
      heard.push(message.toString());
      server.send(message, from.port, from.address);
    });
    const [friend, stranger] = [await datagrams(FRIEND), await datagrams(STRANGER)];
    try {
      await env.s2ds.updateTargets(request.uid, [{ host: env.hosts.v4, port: server.address().port }]);
      let answers = 0;
      friend.on('message', () => (answers += 1));
      const { host, port } = listener(request);
      await eventually(() => {
        // Always the stranger first, so that what he said would have arrived before.
        stranger.send('stranger', port, host);
        friend.send('friend', port, host);
        assert.ok(answers > 2, 'datagrams of a friend do not come back');
      }, DEADLINE_MS);
      assert.ok(!heard.includes('stranger'), 'a datagram of a stranger arrived');
    } finally {
      for (const socket of [server, friend, stranger]) socket.close();
    }
  },
};

/** The same for listeners that are servers of TLS. */
export const tlsSourceCases: ProxyCases = {
  'over TLS: cuts who comes from elsewhere, whatever certificate he has': async (env) => {
    assert.ok(env.s2ds instanceof PairedS2DS);
    const { far } = env.s2ds;
    const credentials = await testCredentials();
    const request = { ...(await env.reserve()), tls: credentials.inbound, sources: SOURCES };
    if (!far.supports.sources) return await expectCode('SCI_PROXY_UNSUPPORTED', far.start(request));
    await far.start(request);
    try {
      const target = await Target.listen(env, 'a');
      await far.updateTargets(request.uid, [target.address]);
      const address = listener(request);
      assert.equal(await secureHello(address, STRANGER, credentials.outbound), 'cut');
      assert.equal(await secureHello(address, FRIEND, credentials.outbound), 'a');
      assert.equal(target.accepted, 1, 'the target saw a stranger');
    } finally {
      await far.release(request.uid);
    }
  },
};

/** A stream that only the friend may use; undefined where the proxy cannot tell him from others, and has said so. */
async function started(env: ProxyEnvironment, transport: 'tcp' | 'udp' = 'tcp'): Promise<S2DSRequest | undefined> {
  const request = { ...(await env.reserve({ transport })), sources: SOURCES };
  if (env.s2ds.supports.sources) {
    await env.s2ds.start(request);
    return request;
  }
  await expectCode('SCI_PROXY_UNSUPPORTED', env.s2ds.start(request));
  await env.expectNothingLeft();
  return undefined;
}

/** Counts who comes. */
class Target {
  accepted = 0;

  private constructor(readonly address: Address) {}

  static async listen(env: ProxyEnvironment, name: string): Promise<Target> {
    const address = await env.server((socket) => {
      target.accepted += 1;
      named(name)(socket);
    });
    const target = new Target(address);
    return target;
  }
}

function from(localAddress: string, { host, port }: Address): Socket {
  const socket = connect({ host, port, localAddress, allowHalfOpen: true });
  return socket.on('error', () => socket.destroy());
}

async function hello(address: Address, who: string): Promise<string> {
  const socket = from(who, address);
  try {
    socket.write('hello');
    return await read(socket, 6);
  } finally {
    socket.destroy();
  }
}

/** What the other end of an encrypted listener says first, to somebody with the certificate for it. */
async function secureHello(address: Address, who: string, { certificate, key }: StreamTls): Promise<string> {
  const wire = from(who, address);
  // Whom this client trusts is not what is tested.
  const socket = connectTls({ socket: wire, cert: certificate, key, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  let heard = '';
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString();
    socket.destroy();
  });
  await closed(socket);
  return heard || 'cut';
}

/** That a stranger hears nothing and is thrown out; the kernel may have accepted before the proxy could. */
async function expectCut(address: Address): Promise<void> {
  const socket = from(STRANGER, address);
  let heard = '';
  let why: unknown;
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  socket.on('error', (error) => (why = systemCode(error)));
  socket.on('end', () => socket.destroy());
  socket.write('hello');
  await closed(socket);
  assert.equal(heard, '', 'a stranger was answered');
  assert.notEqual(why, 'ECONNREFUSED', 'nobody listens, so nothing was tested');
}

/** However it ends: being thrown out may look like an error. */
async function closed(socket: Socket): Promise<void> {
  const close = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await within(close, DEADLINE_MS, () => new Error('the connection is still open'));
}

async function datagrams(host: string): Promise<Datagrams> {
  const socket = createSocket('udp4');
  await once(socket.bind(0, host), 'listening');
  return socket;
}
