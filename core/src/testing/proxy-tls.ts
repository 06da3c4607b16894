import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { Address } from '../contracts/address.js';
import { systemCode } from '../contracts/errors.js';
import type { StreamTls } from '../contracts/stream.js';
import { probeListeners } from '../gateway/listener-probe.js';
import { testCredentials } from './credentials.js';
import { dial, exchange, named, read } from './network.js';
import { bulkCases } from './proxy-bulk.js';
import { type ProxyCases, listener, type ProxyEnvironment } from './proxy-environment.js';
import { PairedS2DS } from './proxy-pair.js';
import { targetCases } from './proxy-targets.js';
import { trafficCases } from './proxy-traffic.js';
import { eventually } from './support.js';

/** Long and unique, so that it does not occur in ciphertext by chance. */
const KNOWN_PLAINTEXT = 'known-plaintext-'.repeat(64);

/** Traffic that must pass between any two proxies. */
export const tlsTrafficCases: ProxyCases = Object.fromEntries(
  Object.entries({ ...trafficCases, ...bulkCases, ...targetCases })
    .filter(([title]) =>
      /^(carries 6|passes the end|makes a fast|each update|updates under load|holds|reaches)/.test(title),
    )
    .map(([title, run]) => [`over TLS: ${title}`, run]),
);

/** Confidentiality and authentication of encrypted streams. */
export const tlsSafetyCases: ProxyCases = {
  'over TLS: shows no plaintext between the gateways': async (env) => {
    const tap = new Tap(env);
    env.between = (far) => tap.before(far);
    const { address } = await env.startTo(await env.server(named('a')));
    assert.equal(await exchange(address, KNOWN_PLAINTEXT), `a${KNOWN_PLAINTEXT}`);
    const seen = tap.seen();
    assert.ok(seen.length > 2 * KNOWN_PLAINTEXT.length, 'the bytes bypassed the tap');
    assert.ok(!seen.includes('known-plaintext-'), 'plaintext was seen between the gateways');
  },

  'over TLS: rejects peers without a certificate of the stream': async (env) => {
    let heard = 0;
    const target = await env.server((socket) => socket.on('data', (chunk) => (heard += chunk.length)).write('secret'));
    const { uid, address } = await env.startTo(target);
    const far = listener(env.pair(uid).far);
    const foreign = (await testCredentials()).outbound;
    for (const credentials of [undefined, foreign, 'plain'] as const) {
      assert.equal(await receivedBy(far, credentials), '');
    }
    assert.equal(heard, 0, 'bytes of an unauthenticated peer reached the target');
    assert.match(await receivedBy(far, env.pair(uid).credentials.outbound), /^secret/);
    (await env.dial(address)).write('x');
    await eventually(() => assert.ok(heard > 0, 'the target receives bytes of a valid peer'));
  },

  'over TLS: reaches another address of the other gateway when the first one refuses': async (env) => {
    env.between = ({ host, port }) => Promise.resolve({ host: '127.0.0.8', port, fallbacks: [host] });
    const { address } = await env.startTo(await env.server(named('t')));
    assert.equal(await exchange(address, 'x'), 'tx');
  },

  'over TLS: answers a probe of the other gateway without the target, and nobody else': async (env) => {
    const { probe } = env.s2ds.supports;
    if (!probe) return;
    let connections = 0;
    const target = await env.server(() => (connections += 1));
    const { uid } = await env.startTo(target);
    const { far, credentials } = env.pair(uid);
    const foreign = (await testCredentials()).outbound;
    const verdict = async (tls: StreamTls): Promise<string | undefined> =>
      (await probeListeners([listener(far)], tls, probe, undefined))[0]?.error;
    assert.equal(await verdict(credentials.outbound), undefined);
    // Each trusts the authority of the stream, so that the server must reject it.
    for (const stranger of [foreign, credentials.early.outbound]) {
      assert.notEqual(await verdict({ ...stranger, ca: credentials.outbound.ca }), undefined);
    }
    assert.equal(connections, 0);
    if (env.s2ds.supports.statistics) {
      const { listeners } = await env.s2ds.status(uid);
      assert.equal(listeners[0]?.connections, 0);
    }
  },

  'over TLS: accepts only TLS 1.3': async (env) => {
    const { uid } = await env.startTo(await env.server(named('a')));
    const { far, credentials } = env.pair(uid);
    const old = secure(listener(far), credentials.outbound, 'TLSv1.2');
    await assert.rejects(once(old, 'secureConnect')).finally(() => old.destroy());
    const socket = secure(listener(far), credentials.outbound);
    await once(socket, 'secureConnect');
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    assert.equal(socket.getCipher().standardName, 'TLS_AES_128_GCM_SHA256');
    socket.destroy();
  },

  'over TLS: sends nothing to a server that is not the other side of the stream': async (env) => {
    for (const pretends of ['foreign authority', 'other name'] as const) {
      await using impostor = await Impostor.listen(env.hosts.v4);
      env.between = () => Promise.resolve(impostor.address);
      const request = await env.start();
      const { credentials } = env.pair(request.uid);
      impostor.use(pretends === 'other name' ? credentials.other : (await testCredentials()).inbound);
      await env.s2ds.updateTargets(request.uid, [await env.server(named('a'))]);
      const client = await env.dial(listener(request));
      client.write('secret');
      await eventually(() => assert.ok(impostor.refusals > 0, 'the impostor was never rejected'), 20_000);
      assert.equal(impostor.heard, '');
      client.destroy();
      await env.s2ds.release(request.uid);
    }
  },

  'over TLS: holds a connection that reaches the far end before a target is set, or ends it': async (env) => {
    const { s2ds } = env;
    assert.ok(s2ds instanceof PairedS2DS);
    const target = await env.server(named('a'));
    const request = await env.start();
    const { uid } = request;
    const { far, through } = env.pair(uid);
    await s2ds.near.updateTargets(uid, through);
    if (!env.holds) {
      await assert.rejects(exchange(listener(request), 'early'), (error) => systemCode(error) !== 'ECONNREFUSED');
      return;
    }
    const early = await env.dial(listener(request));
    early.write('early');
    await s2ds.far.updateTargets(far.uid, [target]);
    assert.equal(await read(early, 6), 'aearly');
  },

  'over TLS: recovers after the program at the far end was killed': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    await env.kill(env.pair(uid).far.uid);
    await eventually(async () => assert.equal(await exchange(address, '1'), 'a1'), 20_000);
    assert.equal((await env.s2ds.status(uid)).restarts, 0);
  },
};

/** All cases of a proxy that encrypts. */
export const tlsCases: ProxyCases = { ...tlsTrafficCases, ...tlsSafetyCases };

/** A direct connection to an encrypted listener. */
function secure({ host, port }: Address, tls: Partial<StreamTls> | undefined, version?: 'TLSv1.2'): TLSSocket {
  return connectTls({
    host,
    port,
    cert: tls?.certificate,
    key: tls?.key,
    // The test checks whether the server accepts this client, not the reverse.
    rejectUnauthorized: false,
    ...(version ? { minVersion: version, maxVersion: version } : { minVersion: 'TLSv1.3' }),
  });
}

/** What a client receives that connects to an encrypted listener and sends immediately; empty if it is disconnected. */
async function receivedBy(far: Address, who: StreamTls | 'plain' | undefined): Promise<string> {
  const socket = who === 'plain' ? await dial(far) : secure(far, who);
  let heard = '';
  // A rejected connection may end with an error.
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    // A plain client may receive a TLS alert (RFC 8446 section 6), which is not data of the target.
    heard += who === 'plain' && chunk[0] === 21 ? '' : chunk.toString();
    if (heard) socket.destroy();
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('let me in\n');
  await closed;
  return heard;
}

/** Records the bytes between two gateways. */
class Tap {
  readonly #chunks: Buffer[] = [];

  constructor(private readonly env: ProxyEnvironment) {}

  /** Inserts the tap in front of an address. */
  before(far: Address): Promise<Address> {
    return this.env.server((near) => void this.#join(near, far));
  }

  seen(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async #join(near: Socket, far: Address): Promise<void> {
    const onward = await this.env.dial(far);
    for (const [from, to] of [
      [near, onward],
      [onward, near],
    ] as const) {
      from.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  }
}

/** A TLS server with a certificate that must not be trusted. */
class Impostor implements AsyncDisposable {
  heard = '';
  refusals = 0;
  readonly #open = new Set<Socket>();
  readonly #server = createTlsServer({ minVersion: 'TLSv1.3' }, (socket) => {
    socket.on('data', (chunk: Buffer) => (this.heard += chunk.toString()));
    socket.on('error', () => socket.destroy());
    // Some clients verify only after the handshake, which then looks complete here.
    socket.once('close', () => (this.refusals += 1));
  });

  static async listen(host: string): Promise<Impostor> {
    const impostor = new Impostor();
    impostor.#server.on('tlsClientError', () => (impostor.refusals += 1));
    impostor.#server.on('connection', (socket: Socket) => {
      impostor.#open.add(socket);
      socket.once('close', () => impostor.#open.delete(socket));
    });
    await once(impostor.#server.listen({ host, port: 0 }), 'listening');
    return impostor;
  }

  get address(): Address {
    const { address: host, port } = this.#server.address() as AddressInfo;
    return { host, port };
  }

  use({ certificate, key }: StreamTls): void {
    this.#server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.3' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((done) => this.#server.close(done));
  }
}
