import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { Address } from '../contracts/address.js';
import { systemCode } from '../contracts/errors.js';
import type { StreamTls } from '../contracts/stream.js';
import { testCredentials } from './credentials.js';
import { dial, exchange, named, read } from './network.js';
import { bulkCases } from './proxy-bulk.js';
import { type ProxyCases, listener, type ProxyEnvironment } from './proxy-environment.js';
import { PairedS2DS } from './proxy-pair.js';
import { targetCases } from './proxy-targets.js';
import { trafficCases } from './proxy-traffic.js';
import { eventually } from './support.js';

/** Long and of no language, so that it stands in no ciphertext by chance. */
const KNOWN_PLAINTEXT = 'known-plaintext-'.repeat(64);

/** What pairs of any two proxies must carry between each other. */
export const tlsTrafficCases: ProxyCases = Object.fromEntries(
  Object.entries({ ...trafficCases, ...bulkCases, ...targetCases })
    .filter(([title]) => /^(carries 6|passes the end|makes a fast|each update|updates under load|holds)/.test(title))
    .map(([title, run]) => [`over TLS: ${title}`, run]),
);

/** What an encrypted stream must keep out, and hide. */
export const tlsSafetyCases: ProxyCases = {
  'over TLS: shows nothing of what it carries between the gateways': async (env) => {
    const tap = new Tap(env);
    env.between = (far) => tap.before(far);
    const { address } = await env.startTo(await env.server(named('a')));
    assert.equal(await exchange(address, KNOWN_PLAINTEXT), `a${KNOWN_PLAINTEXT}`);
    const seen = tap.seen();
    assert.ok(seen.length > 2 * KNOWN_PLAINTEXT.length, 'the bytes went past the tap');
    assert.ok(!seen.includes('known-plaintext-'), 'plaintext was seen between the gateways');
  },

  'over TLS: lets nobody in who has no certificate of the stream': async (env) => {
    let heard = 0;
    const target = await env.server((socket) => socket.on('data', (chunk) => (heard += chunk.length)).write('secret'));
    const { uid, address } = await env.startTo(target);
    const far = listener(env.pair(uid).far);
    const foreign = (await testCredentials()).outbound;
    for (const credentials of [undefined, foreign, 'plain'] as const) {
      assert.equal(await strangerHears(far, credentials), '');
    }
    assert.equal(heard, 0, 'bytes of a stranger reached the target');
    assert.match(await strangerHears(far, env.pair(uid).credentials.outbound), /^secret/);
    (await env.dial(address)).write('x');
    await eventually(() => assert.ok(heard > 0, 'the target would have told'));
  },

  'over TLS: speaks TLS 1.3 and nothing older': async (env) => {
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

  'over TLS: tells nothing to a server that is not the other side of the stream': async (env) => {
    for (const pretends of ['foreign authority', 'other name'] as const) {
      await using impostor = await Impostor.listen(env.hosts.v4);
      env.between = () => Promise.resolve(impostor.address);
      const request = await env.start();
      const { credentials } = env.pair(request.uid);
      impostor.use(pretends === 'other name' ? credentials.other : (await testCredentials()).inbound);
      await env.s2ds.updateTargets(request.uid, [await env.server(named('a'))]);
      const client = await env.dial(listener(request));
      client.write('secret');
      await eventually(() => assert.ok(impostor.refusals > 0, 'the impostor was never refused'), 20_000);
      assert.equal(impostor.heard, '');
      client.destroy();
      await env.s2ds.release(request.uid);
    }
  },

  'over TLS: holds a connection that comes to the far end before its target, or refuses it': async (env) => {
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

  'over TLS: goes on when the program at the far end was killed': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    await env.kill(env.pair(uid).far.uid);
    await eventually(async () => assert.equal(await exchange(address, '1'), 'a1'), 20_000);
    assert.equal((await env.s2ds.status(uid)).restarts, 0);
  },
};

/** Everything that a proxy must do which encrypts. */
export const tlsCases: ProxyCases = { ...tlsTrafficCases, ...tlsSafetyCases };

/** A connection straight to an encrypted listener. */
function secure({ host, port }: Address, tls: Partial<StreamTls> | undefined, version?: 'TLSv1.2'): TLSSocket {
  return connectTls({
    host,
    port,
    cert: tls?.certificate,
    key: tls?.key,
    // Whom a stranger trusts is its own business; here it is whether it is trusted.
    rejectUnauthorized: false,
    ...(version ? { minVersion: version, maxVersion: version } : { minVersion: 'TLSv1.3' }),
  });
}

/** What somebody gets to hear who connects to an encrypted listener and talks at once, until he is thrown out or hears it. */
async function strangerHears(far: Address, who: StreamTls | 'plain' | undefined): Promise<string> {
  const socket = who === 'plain' ? await dial(far) : secure(far, who);
  let heard = '';
  // Being thrown out may look like an error, which is as good as an end.
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    // A plain stranger may hear an alert (RFC 8446 section 6), which is not what the target says.
    heard += who === 'plain' && chunk[0] === 21 ? '' : chunk.toString();
    if (heard) socket.destroy();
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('let me in\n');
  await closed;
  return heard;
}

/** Listens to what two gateways say to each other. */
class Tap {
  readonly #chunks: Buffer[] = [];

  constructor(private readonly env: ProxyEnvironment) {}

  /** Puts it in front of an address. */
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
    // Some verify only after the handshake, which then looks complete from here.
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
