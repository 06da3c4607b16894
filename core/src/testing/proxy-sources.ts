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

/** Two addresses of this machine, so that connections have two sources. */
const ALLOWED = '127.0.0.1';
const DENIED = '127.0.0.2';
/** The network of ALLOWED and two unused ones. DENIED is in none of them. */
const SOURCES = ['192.0.2.0/24', '2001:db8::/32', `${ALLOWED}/32`];
const DEADLINE_MS = 30_000;

/** Source networks of a stream: `supports.sources`, or an error. */
export const sourceCases: ProxyCases = {
  'accepts connections from listed networks and closes all others at the listener': async (env) => {
    const target = await Target.listen(env, 'a');
    const request = await started(env);
    if (!request) return;
    const address = listener(request);
    if (env.holds) await expectClosed(address);
    await env.s2ds.updateTargets(request.uid, [target.address]);
    await expectClosed(address);
    assert.equal(await hello(address, ALLOWED), 'ahello');

    const second = await Target.listen(env, 'b');
    await env.s2ds.updateTargets(request.uid, [second.address]);
    await expectClosed(address);
    assert.equal(await hello(address, ALLOWED), 'bhello');

    env.restart();
    assert.equal(await env.s2ds.adopt(request, [second.address]), true);
    await expectClosed(address);
    assert.equal(await hello(address, ALLOWED), 'bhello');
    assert.equal(target.accepted, 1, 'the target accepted a denied client');
    assert.equal(second.accepted, 2, 'the target accepted a denied client');
    if (!env.s2ds.supports.statistics) return;
    await eventually(async () => {
      const [counted] = (await env.s2ds.status(request.uid)).listeners;
      assert.ok((counted?.refused ?? 0) >= 3, 'closed connections are not counted');
      assert.equal(counted?.connections, 3, 'closed connections count as accepted');
    }, DEADLINE_MS);
  },

  'does not adopt a stream with other source networks': async (env) => {
    const request = await started(env);
    if (!request) return;
    env.restart();
    assert.equal(await env.s2ds.adopt({ ...request, spec: { ...request.spec, sources: ['192.0.2.0/24'] } }, []), false);
    await env.expectNothingLeft();
  },

  'drops datagrams from networks that are not listed': async (env) => {
    if (!env.s2ds.supports.udp) return;
    const request = await started(env, 'udp');
    if (!request) return;
    const heard: string[] = [];
    const server = await datagrams(env.hosts.v4);
    server.on('message', (message, from) => {
      heard.push(message.toString());
      server.send(message, from.port, from.address);
    });
    const [allowed, denied] = [await datagrams(ALLOWED), await datagrams(DENIED)];
    try {
      await env.s2ds.updateTargets(request.uid, [{ host: env.hosts.v4, port: server.address().port }]);
      let answers = 0;
      allowed.on('message', () => (answers += 1));
      const { host, port } = listener(request);
      await eventually(() => {
        // The denied client sends first, so that its datagram would arrive earlier.
        denied.send('denied', port, host);
        allowed.send('allowed', port, host);
        assert.ok(answers > 2, 'datagrams of the allowed client do not come back');
      }, DEADLINE_MS);
      assert.ok(!heard.includes('denied'), 'a datagram of the denied client arrived');
    } finally {
      for (const socket of [server, allowed, denied]) socket.close();
    }
  },
};

/** Source networks of TLS listeners. */
export const tlsSourceCases: ProxyCases = {
  'over TLS: closes connections from other networks despite a valid certificate': async (env) => {
    assert.ok(env.s2ds instanceof PairedS2DS);
    const { far } = env.s2ds;
    const credentials = await testCredentials();
    const request = await env.reserve({ tls: credentials.inbound, sources: SOURCES });
    if (!far.supports.sources) return void (await expectCode('SCI_PROXY_UNSUPPORTED', far.start(request)));
    await far.start(request);
    try {
      const target = await Target.listen(env, 'a');
      await far.updateTargets(request.uid, [target.address]);
      const address = listener(request);
      assert.equal(await secureHello(address, DENIED, credentials.outbound), 'closed');
      assert.equal(await secureHello(address, ALLOWED, credentials.outbound), 'a');
      assert.equal(target.accepted, 1, 'the target accepted a denied client');
    } finally {
      await far.release(request.uid);
    }
  },
};

/** Starts a stream that accepts only ALLOWED; undefined if the proxy does not support sources and said so. */
async function started(env: ProxyEnvironment, transport: 'tcp' | 'udp' = 'tcp'): Promise<S2DSRequest | undefined> {
  const request = await env.reserve({ transport, sources: SOURCES });
  if (env.s2ds.supports.sources) {
    await env.s2ds.start(request);
    return request;
  }
  await expectCode('SCI_PROXY_UNSUPPORTED', env.s2ds.start(request));
  await env.expectNothingLeft();
  return undefined;
}

/** A target that counts connections. */
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

/** The first bytes that a TLS listener sends to a client with its certificate. */
async function secureHello(address: Address, who: string, { certificate, key }: StreamTls): Promise<string> {
  const wire = from(who, address);
  // The test checks whether the server accepts this client, not the reverse.
  const socket = connectTls({ socket: wire, cert: certificate, key, minVersion: 'TLSv1.3', rejectUnauthorized: false });
  let heard = '';
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString();
    socket.destroy();
  });
  await closed(socket);
  return heard || 'closed';
}

/** Asserts that a denied client receives nothing and is disconnected. The kernel may accept the connection first. */
async function expectClosed(address: Address): Promise<void> {
  const socket = from(DENIED, address);
  let heard = '';
  let why: unknown;
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  socket.on('error', (error) => (why = systemCode(error)));
  socket.on('end', () => socket.destroy());
  socket.write('hello');
  await closed(socket);
  assert.equal(heard, '', 'a denied client received data');
  assert.notEqual(why, 'ECONNREFUSED', 'nothing listens, so nothing was tested');
}

/** Waits for the end of a connection, with or without an error. */
async function closed(socket: Socket): Promise<void> {
  const close = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await within(close, DEADLINE_MS, () => new Error('the connection is still open'));
}

async function datagrams(host: string): Promise<Datagrams> {
  const socket = createSocket('udp4');
  await once(socket.bind(0, host), 'listening');
  return socket;
}
