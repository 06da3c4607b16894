/** The data path does not depend on the daemons that control it. Daemons are killed with SIGKILL. */
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import {
  dial,
  eventually,
  exchange,
  named,
  receiveAll,
  sendRandom,
  tcpServer,
  type Flow,
} from '@scistream/core/testing';
import { connectPeer, type Peer } from '../support/clients.js';
import { Daemon, GatewayDaemon } from '../support/daemon.js';
import { NOTHING } from '../support/leftovers.js';
import { toAddress } from '../support/server.js';

const s = suite('crash');

const BLOCK = 1024 * 1024;
const LEAST_BLOCKS = 64;

const peerOf = ({ peerOptions }: Daemon): Promise<Peer> =>
  connectPeer({ ...peerOptions, authorization: 'INVALID_TOKEN' });

/** Data that flows until it is told to stop, with a checksum at both ends. */
async function traffic() {
  const received: Promise<Flow>[] = [];
  const sink = await tcpServer((socket) => {
    received.push(receiveAll(socket));
    socket.once('end', () => socket.end());
  });
  const stop = new AbortController();
  const begin = async (entry: string): Promise<() => Promise<void>> => {
    const socket = await dial(toAddress(entry));
    let blocks = 0;
    const sending = sendRandom(socket, Number.MAX_SAFE_INTEGER, () => {
      blocks += 1;
      return !stop.signal.aborted || blocks < LEAST_BLOCKS;
    });
    return async () => {
      stop.abort();
      const sent = await sending;
      assert.ok(sent.bytes >= LEAST_BLOCKS * BLOCK, `${sent.bytes} bytes`);
      assert.equal(await Promise.all(received), [sent]);
    };
  };
  return { address: formatAddress(sink.address), begin, [Symbol.asyncDispose]: () => sink.close() };
}

/** REQ, HELLO and UPDATE. @returns The address to connect to. */
async function setUp({ control }: Peer, uid: string, target: string): Promise<string> {
  const [{ listeners }] = await Promise.all([
    control.req({ uid, role: 'PROD', numConn: 1 }),
    control.hello({ uid, prodListeners: [target] }),
  ]);
  await control.update({ uid, remoteListeners: [target] });
  const [entry = ''] = listeners;
  return entry;
}

for (const separate of [false, true]) {
  const who = separate ? 's2cs and s2ds' : 's2cs with its gateway';
  s(`kill -9 of ${who} loses no byte; the stream is retargeted and released after the restart`, async () => {
    await using gateway = separate ? await GatewayDaemon.start('aps-gw') : undefined;
    await using server = await Daemon.start({ ...(gateway && { s2ds: gateway.address }) });
    const before = await peerOf(server);
    await using flow = await traffic();
    await using other = await tcpServer(named('o'));
    const uid = randomUUID();
    const entry = await setUp(before, uid, flow.address);
    const finish = await flow.begin(entry);

    before.cut();
    await server.kill();
    await gateway?.kill();
    await gateway?.again();
    await server.again();

    const after = await peerOf(server);
    await eventually(async () => assert.is((await after.streams.get({ uid })).state, 'streaming'));
    await after.control.update({ uid, remoteListeners: [formatAddress(other.address)] });
    assert.is(await exchange(toAddress(entry), 'x'), 'ox');
    await finish();
    await after.control.release({ uid });
    assert.equal(await (gateway ?? server).leftovers(), NOTHING);
    after.cut();
  });
}

s.run();
