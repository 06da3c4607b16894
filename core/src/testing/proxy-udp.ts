import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Address } from '../contracts/address.js';
import { type ProxyCases, expectCode, listener } from './proxy-environment.js';
import { eventually } from './support.js';

/** Up to the payload of a 9000-byte frame without its IP and UDP headers. */
const DATAGRAM_BYTES = [1, 512, 1472, 4096, 8972];

/** Datagrams through a stream, or an error. */
export const udpCases: ProxyCases = {
  'carries UDP or rejects it': async (env) => {
    const request = await env.reserve({ transport: 'udp' });
    if (!env.s2ds.supports.udp) {
      await expectCode('SCI_PROXY_UNSUPPORTED', env.s2ds.start(request));
      await env.expectNothingLeft();
      return;
    }
    await env.s2ds.start(request);
    const server = createSocket('udp4');
    const clients = [new Client('a'), new Client('b')];
    try {
      server.on('message', (message, from) => server.send(message, from.port, from.address));
      await once(server.bind(0, env.hosts.v4), 'listening');
      await env.s2ds.updateTargets(request.uid, [{ host: env.hosts.v4, port: server.address().port }]);
      for (const bytes of DATAGRAM_BYTES) {
        await Promise.all(clients.map((client) => client.exchange(listener(request), bytes)));
      }
    } finally {
      for (const client of clients) client.close();
      server.close();
    }
  },

  'clients get no datagram that nobody sent while the target does not listen, unless supports.emptyDatagrams': async (
    env,
  ) => {
    if (!env.s2ds.supports.udp || env.s2ds.supports.emptyDatagrams) return;
    const request = await env.start({ transport: 'udp' });
    const [server, probe] = [createSocket('udp4'), createSocket('udp4')];
    const client = new Client('c');
    try {
      await once(probe.bind(0, env.hosts.v4), 'listening');
      const { port } = probe.address();
      await once(probe.close(), 'close');
      await env.s2ds.updateTargets(request.uid, [{ host: env.hosts.v4, port }]);
      for (let i = 0; i < DATAGRAM_BYTES.length; i += 1) await client.send(listener(request), 1);
      server.on('message', (message, from) => server.send(message, from.port, from.address));
      await once(server.bind(port, env.hosts.v4), 'listening');
      await client.exchange(listener(request), 1);
      assert.ok(!client.hasHeard(''), 'an empty datagram arrived');
    } finally {
      client.close();
      server.close();
    }
  },
};

/** A client that sends datagrams of one letter and records the answers. */
class Client {
  readonly #heard: string[] = [];
  readonly #socket: Socket = createSocket('udp4').on('message', (message) => this.#heard.push(message.toString()));

  constructor(private readonly letter: string) {}

  /** Repeats the datagram until it comes back, because datagrams may be lost. */
  async exchange({ host, port }: Address, bytes: number): Promise<void> {
    const text = this.letter.repeat(bytes);
    await eventually(() => {
      if (!this.#heard.includes(text)) this.#socket.send(text, port, host);
      assert.ok(this.#heard.includes(text), `a datagram of ${bytes} bytes does not come back`);
    });
    const foreign = this.#heard.filter((message) => message !== this.letter.repeat(message.length));
    assert.deepEqual(foreign, [], 'datagrams of another client arrived');
  }

  /** Sends one datagram, whether or not it arrives. */
  send({ host, port }: Address, bytes: number): Promise<void> {
    return new Promise((resolve) => this.#socket.send(this.letter.repeat(bytes), port, host, () => resolve()));
  }

  hasHeard(text: string): boolean {
    return this.#heard.includes(text);
  }

  close(): void {
    this.#socket.close();
  }
}
