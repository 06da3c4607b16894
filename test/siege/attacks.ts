/** Attacks of a stranger and of Mallory, an ordinary user. Each goes on until its signal aborts, with bounded means. */
import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { parseAddress } from '@scistream/core/internal';
import { tcpServer } from '@scistream/core/testing';
import type { Peer } from '../support/clients.js';
import { PRODUCERS, tokenOf, type Ground } from './ground.js';

export interface Attack {
  readonly name: string;
  readonly run: (ground: Ground, signal: AbortSignal) => Promise<void>;
}

/** Calls of attackers fail most of the time. Their number is what a report shows. */
const tally = { calls: 0, connections: 0 };
export const spent = (): Readonly<typeof tally> => ({ ...tally });

const ignore = (): undefined => undefined;

/** Repeats a step until the signal aborts. At least `pauseMs` between two. */
async function repeat(signal: AbortSignal, pauseMs: number, step: () => Promise<unknown>): Promise<void> {
  while (!signal.aborted) {
    tally.calls += 1;
    await step().catch(ignore);
    await pause(pauseMs, undefined, { signal }).catch(ignore);
  }
}

/** Keeps `count` silent connections to a port open, from several source addresses, and replaces those that are closed. */
async function silence(signal: AbortSignal, port: number, host: string, count: number, first = ''): Promise<void> {
  const open = new Set<Socket>();
  await repeat(signal, 100, async () => {
    for (let i = 0; open.size < count && i < 50; i += 1) {
      tally.connections += 1;
      const socket = connect({ port, host, localAddress: `127.0.9.${1 + (tally.connections % 6)}` });
      open.add(socket);
      socket.on('error', ignore).on('close', () => open.delete(socket));
      if (first !== '') socket.write(first);
    }
    await Promise.resolve();
  });
  for (const socket of open) socket.destroy();
}

/** A stream of Mallory at aps whose target is set. */
async function streamOf({ control }: Peer, target: string, proxy = 'relay', transport = 'tcp') {
  const uid = randomUUID();
  const request = { uid, role: 'PROD', numConn: 1, proxy, transport };
  const [{ listeners }] = await Promise.all([control.req(request), control.hello({ uid, prodListeners: [target] })]);
  await control.update({ uid, remoteListeners: [target] });
  return { uid, entry: listeners[0] ?? '' };
}

const silentCallers: Attack = {
  name: 'a stranger keeps 600 silent connections to the control port',
  run: async ({ daemons }, signal) => {
    const { host, port } = parseAddress(daemons.aps.address);
    await silence(signal, port, host, 600);
  },
};

const wrongTokens: Attack = {
  name: 'a stranger calls with wrong tokens in ten loops',
  run: async ({ daemons }, signal) => {
    const session = connectHttp2(`https://${daemons.alcf.address}`, { rejectUnauthorized: false }).on('error', ignore);
    let live = session;
    const call = (): Promise<void> =>
      new Promise((resolve) => {
        if (live.destroyed || live.closed) {
          live = connectHttp2(`https://${daemons.alcf.address}`, { rejectUnauthorized: false }).on('error', ignore);
        }
        const headers = { ':method': 'POST', ':path': '/scistream.v1.Streams/List', authorization: 'Bearer wrong' };
        live
          .request({ ...headers, 'content-type': 'application/json' })
          .on('error', ignore)
          .on('close', resolve)
          .resume()
          .end('{}');
      });
    await Promise.all(Array.from({ length: 10 }, () => repeat(signal, 1, call)));
    session.destroy();
    live.destroy();
  },
};

const silentConsumers: Attack = {
  name: 'a stranger keeps 300 silent connections to the gateway listeners of each steady stream',
  run: async (ground, signal) => {
    const { streams } = await ground.peer('aps', 'alice');
    const { streams: all } = await streams.list({});
    const entries = all.flatMap(({ listeners }) => listeners).map((entry) => parseAddress(entry));
    await Promise.all(entries.map(({ host, port }) => silence(signal, port, host, 300)));
  },
};

const manyNames: Attack = {
  name: 'Mallory announces thousands of names, then lets the stream fail',
  run: async (ground, signal) => {
    const { control } = await ground.peer('aps', 'mallory');
    const prodListeners = Array.from({ length: 4096 }, (_, i) => `${'n'.repeat(200)}${i}.example:5000`);
    await repeat(signal, 200, async () => {
      const uid = randomUUID();
      await Promise.all([
        control.req({ uid, role: 'PROD', numConn: 1 }).catch(ignore),
        control.hello({ uid, prodListeners }),
      ]).finally(() => control.release({ uid }));
    });
  },
};

const refusedUpdates: Attack = {
  name: 'Mallory updates to thousands of forbidden targets',
  run: async (ground, signal) => {
    const peer = await ground.peer('aps', 'mallory');
    const { uid } = await streamOf(peer, `${PRODUCERS}:1999`);
    const remoteListeners = Array.from({ length: 4096 }, (_, i) => `${'t'.repeat(200)}${i}.example:5000`);
    await repeat(signal, 100, () => peer.control.update({ uid, remoteListeners }));
  },
};

const loops: Attack = {
  name: 'Mallory makes loops of streams, in TCP and UDP',
  run: async (ground, signal) => {
    const peer = await ground.peer('aps', 'mallory');
    const [a, b] = [await streamOf(peer, `${PRODUCERS}:1999`), await streamOf(peer, `${PRODUCERS}:1999`)];
    const udp = await streamOf(peer, `${PRODUCERS}:1999`, 'relay', 'udp');
    const datagrams = createSocket('udp4');
    await repeat(signal, 500, async () => {
      const own = a.entry.replace('127.0.1.1', '[::ffff:127.0.1.1]');
      await peer.control.update({ uid: a.uid, remoteListeners: [own] }).catch(ignore);
      await peer.control.update({ uid: a.uid, remoteListeners: [b.entry] }).catch(ignore);
      await peer.control.update({ uid: b.uid, remoteListeners: [a.entry] }).catch(ignore);
      await peer.control.update({ uid: udp.uid, remoteListeners: [udp.entry] }).catch(ignore);
      const { host, port } = parseAddress(a.entry);
      const spark = connect({ host, port }).on('error', ignore);
      spark.setTimeout(1_000, () => spark.destroy()).write('x');
      datagrams.send('x', parseAddress(udp.entry).port, parseAddress(udp.entry).host);
    });
    datagrams.close();
  },
};

const scanner: Attack = {
  name: 'Mallory scans through the gateway',
  run: async (ground, signal) => {
    const peer = await ground.peer('aps', 'mallory');
    const { uid } = await streamOf(peer, `${PRODUCERS}:1999`);
    await Promise.all(
      Array.from({ length: 10 }, () =>
        repeat(signal, 10, () => peer.streams.connectTargets({ uid }, { timeoutMs: 5_000 })),
      ),
    );
  },
};

const sameTargets: Attack = {
  name: 'Mallory repeats an update of nginx while old connections stay open',
  run: async (ground, signal) => {
    const peer = await ground.peer('aps', 'mallory');
    await using producer = await tcpServer(() => undefined, PRODUCERS);
    const targets = [`${PRODUCERS}:${producer.address.port}`, `${PRODUCERS}:1999`];
    const { uid, entry } = await streamOf(peer, targets[0] ?? '', 'nginx');
    const kept: Socket[] = [];
    let turn = 0;
    await repeat(signal, 100, async () => {
      await peer.control.update({ uid, remoteListeners: [targets[(turn += 1) % 2] ?? ''] });
      if (kept.length < 200) kept.push(connect(parseAddress(entry)).on('error', ignore));
    });
    for (const socket of kept) socket.destroy();
  },
};

const unreadLists: Attack = {
  name: 'Mallory requests lists of ended streams and does not read the answers',
  run: async (ground, signal) => {
    await repeat(signal, 2_000, async () => {
      const session = connectHttp2(`https://${ground.daemons.aps.address}`, {
        rejectUnauthorized: false,
        settings: { initialWindowSize: 0 },
      }).on('error', ignore);
      const headers = { ':method': 'POST', ':path': '/scistream.v1.Streams/List', authorization: tokenOf('mallory') };
      for (let i = 0; i < 12; i += 1) {
        session
          .request({ ...headers, 'content-type': 'application/json' })
          .on('error', ignore)
          .end('{"ended":true}');
      }
      await pause(1_800, undefined, { signal }).catch(ignore);
      session.destroy();
    });
  },
};

const othersStreams: Attack = {
  name: 'Mallory calls with the uids of others',
  run: async (ground, signal) => {
    const { streams } = await ground.peer('aps', 'alice');
    const { control } = await ground.peer('aps', 'mallory');
    await repeat(signal, 50, async () => {
      const [first] = (await streams.list({})).streams;
      const uid = first?.uid ?? '';
      await control.release({ uid }).catch(ignore);
      await control.hello({ uid, prodListeners: [] }, { timeoutMs: 1_000 }).catch(ignore);
      await control.update({ uid, remoteListeners: [`${PRODUCERS}:1999`] });
    });
  },
};

const allPorts: Attack = {
  name: 'Mallory requests as many ports as she can get',
  run: async (ground, signal) => {
    const { control } = await ground.peer('alcf', 'mallory');
    await repeat(signal, 500, async () => {
      const uid = randomUUID();
      const request = { uid, role: 'CONS', numConn: 101 };
      await Promise.all([control.req(request, { timeoutMs: 5_000 }), control.hello({ uid })]).catch(ignore);
      await control.release({ uid });
    });
  },
};

export const ATTACKS: readonly Attack[] = [
  silentCallers,
  wrongTokens,
  silentConsumers,
  manyNames,
  refusedUpdates,
  loops,
  scanner,
  sameTargets,
  unreadLists,
  othersStreams,
  allPorts,
];
