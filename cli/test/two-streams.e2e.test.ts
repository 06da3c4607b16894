// needs: docker, root, haproxy, nginx
// suite: full
/** Two streams of one proxy on one gateway: what is done with the second, the first never notices. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { HopTraffic, StreamStatus } from '@scistream/core/client';
import { eventually } from '@scistream/core/testing';
import { greeting, json, Producer, type Facilities } from './support/facilities.js';
import { Site } from './support/site.js';

interface Released {
  readonly released: readonly { readonly connections: number; readonly bytesToConsumer: number }[];
}

/** Enough to notice, and little enough for a machine that has much else to do. */
const BLOCK = 32 * 1024;
const PACE_MS = 25;

const s = suite<{ site: Site }>('two streams of one proxy in containers');

s.before(async (context) => {
  context.site = await Site.open();
});
s.after(({ site }) => site[Symbol.asyncDispose]());

/** A connection on which blocks go to an echo and come back, one after another, until it is told to end. */
class Pulse {
  blocks = 0;
  readonly #ended: Promise<void>;
  #stop = false;

  private constructor(
    private readonly socket: Socket,
    private readonly greeting: string,
  ) {
    this.#ended = this.#beat();
    this.#ended.catch(() => undefined);
  }

  static async start(address: string, name: string): Promise<Pulse> {
    const [host, port] = address.split(':');
    const socket = connect({ host, port: Number(port) });
    await once(socket, 'connect');
    return new Pulse(socket, name);
  }

  /** Returns when at least one more block has gone and come, or rejects with what broke the connection. */
  async goesOn(): Promise<void> {
    const before = this.blocks;
    const more = eventually(() => Promise.resolve(assert.ok(this.blocks > before + 1)), 60_000);
    await Promise.race([more, this.#ended]);
    await more;
  }

  /** @returns Bytes that came, the greeting included. */
  async end(): Promise<number> {
    this.#stop = true;
    await this.#ended;
    this.socket.destroy();
    return this.greeting.length + this.blocks * BLOCK;
  }

  async #beat(): Promise<void> {
    const incoming = this.socket[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
    let rest = Buffer.alloc(0);
    const take = async (bytes: number): Promise<Buffer> => {
      while (rest.length < bytes) {
        const next = await incoming.next();
        if (next.done) throw new Error(`the connection ended after ${this.blocks} blocks`);
        rest = Buffer.concat([rest, next.value]);
      }
      const taken = rest.subarray(0, bytes);
      rest = rest.subarray(bytes);
      return taken;
    };
    assert.is(String(await take(this.greeting.length)), this.greeting);
    while (!this.#stop) {
      const block = randomBytes(BLOCK);
      this.socket.write(block);
      assert.is(digest(await take(BLOCK)), digest(block), `block ${this.blocks}`);
      this.blocks += 1;
      await pause(PACE_MS);
    }
  }
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function expectGreeting(address: string, name: string): Promise<void> {
  const { text, socket } = await greeting(address);
  assert.is(text, name);
  socket.destroy();
}

const down = (facilities: Facilities, uid: string): Promise<Released> =>
  json<Released>(facilities, 0, 'stream', 'down', uid);

/** What passes the gateway of the consumers. */
async function hop(facilities: Facilities, uid: string): Promise<HopTraffic> {
  const { hops } = await json<StreamStatus>(facilities, 0, 'stream', 'status', uid);
  const [first] = hops;
  assert.ok(first);
  return first;
}

for (const proxy of ['haproxy', 'nginx']) {
  // Nginx does not count.
  const counts = proxy === 'haproxy';
  s(`${proxy}: the second stream is made, retargeted and released while data flow in the first`, async ({ site }) => {
    const { facilities } = site;
    const named = (name: string): Promise<Producer> => Producer.start(facilities.host, name);
    const [one, two, three] = await Promise.all([named('one'), named('two'), named('three')]);
    try {
      const flags = ['--proxy', proxy, '--runtime', 'docker'];
      const first = await site.up(...flags, '--producer', one.address);
      const pulse = await Pulse.start(first.connect[0] ?? '', 'one');
      await pulse.goesOn();
      const second = await site.up(...flags, '--producer', two.address);
      assert.is((await site.containers()).length, 4, 'an instance for each side of each stream');
      await expectGreeting(second.connect[0] ?? '', 'two');
      await pulse.goesOn();
      await json(facilities, 0, 'stream', 'update', second.uid, '--producer', three.address);
      await expectGreeting(second.connect[0] ?? '', 'three');
      await pulse.goesOn();
      if (counts) assert.is((await hop(facilities, first.uid)).open, 1);
      await down(facilities, second.uid);
      await pulse.goesOn();
      await expectGreeting(first.connect[0] ?? '', 'one');
      const bytes = await pulse.end();
      assert.is(one.connections, 2);
      if (counts) await eventually(async () => assert.is((await hop(facilities, first.uid)).open, 0), 60_000);
      const { released } = await down(facilities, first.uid);
      const expected = { connections: 2, bytesToConsumer: bytes + 'one'.length };
      const [counted] = released.map(({ connections, bytesToConsumer }) => ({ connections, bytesToConsumer }));
      if (counts) assert.equal(counted, expected);
      await site.expectNothingLeft();
    } finally {
      await Promise.all([one, two, three].map((producer) => producer.stop()));
    }
  });
}

s.run();
