// needs: root, ip, netns
// suite: full
/** Two data servers in separate network namespaces under one control server, as daemons of an operator. */
import { createHash, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { dial, receiveAll, sendRandom, tcpServer, type Flow } from '@scistream/core/testing';
import { Home } from '../../cli/test/support/cli.js';
import { connectPeer, refused, type Peer } from '../support/clients.js';
import { Daemon, GatewayDaemon } from '../support/daemon.js';
import { island } from '../support/namespaces.js';
import { toAddress } from '../support/server.js';

const s = suite('gateways');

const TOKEN = 'token-of-the-operator';
const SHA256 = createHash('sha256').update(TOKEN).digest('hex');
const BYTES = 16 * 1024 * 1024;

/** The home of commands, removed at the end. */
async function home() {
  const made = await Home.create();
  return { made, [Symbol.asyncDispose]: () => made.remove() };
}

/** REQ, HELLO and UPDATE. */
async function setUp({ control }: Peer, target: string, gateway = '') {
  const uid = randomUUID();
  const [{ listeners, stream }] = await Promise.all([
    control.req({ uid, role: 'PROD', numConn: 1, gateway }),
    control.hello({ uid, prodListeners: [target] }),
  ]);
  await control.update({ uid, remoteListeners: [target] });
  return { uid, gateway: stream?.gateway, entry: toAddress(listeners[0] ?? '') };
}

/** Sends random data to `entry`, which forwards it to the sink. @returns What was sent and what arrived. */
async function transfer(entry: { host: string; port: number }, arrived: Promise<Flow>[]): Promise<void> {
  const before = arrived.length;
  const socket = await dial(entry);
  const sent = await sendRandom(socket, BYTES);
  await receiveAll(socket);
  assert.is(arrived.length, before + 1);
  assert.is(sent.bytes, BYTES);
  assert.equal(await arrived[before], sent);
}

/** The place of a gateway whose two addresses are the same. */
const place = ({ far, prefix }: Awaited<ReturnType<typeof island>>) => ({ prefix, wan: far, lan: far });

s('streams are placed on both, one is drained, and gateway ls shows everything', async () => {
  await using user = await home();
  await using one = await island(0);
  await using two = await island(1);
  await using first = await GatewayDaemon.start('dtn1', 16, place(one));
  await using second = await GatewayDaemon.start('dtn2', 16, place(two));
  const gateways = [
    { name: 'dtn1', s2ds: first.address, labels: ['dtn', '100g'], capacity: '100Gbps' },
    { name: 'dtn2', s2ds: second.address, capacity: '100Gbps' },
  ];
  const auth = [{ use: 'token', tokens: [{ subject: 'operator', sha256: SHA256, admin: true }] }];
  await using server = await Daemon.start({ config: { gateways, auth } });
  const peer = await connectPeer({ ...server.peerOptions, authorization: TOKEN });
  const arrived: Promise<Flow>[] = [];
  const receive = (socket: Socket): void => {
    arrived.push(receiveAll(socket));
    socket.once('end', () => socket.end());
  };
  await using producer1 = await tcpServer(receive, one.near);
  await using producer2 = await tcpServer(receive, two.near);
  const [target1, target2] = [formatAddress(producer1.address), formatAddress(producer2.address)];

  const a = await setUp(peer, target1);
  const b = await setUp(peer, target2);
  assert.equal([a.gateway, b.gateway], ['dtn1', 'dtn2']);
  assert.equal([a.entry.host, b.entry.host], [one.far, two.far]);
  for (const { entry } of [a, b]) await transfer(entry, arrived);

  const token = join(user.made.path, 'token');
  await writeFile(token, TOKEN, { mode: 0o600 });
  const there = ['--s2cs', `${server.address}#${server.fingerprint}`, '--token-file', token];
  const ls = async () => {
    const { gateways: found } = (await user.made.json('gateway', 'ls', ...there)) as { gateways: Listed[] };
    return found.map(({ name, up, drained, streams, ports }) => [name, up, drained, streams, ports.used]);
  };
  await user.made.json('gateway', 'drain', 'dtn1', ...there);
  assert.is((await setUp(peer, target2)).gateway, 'dtn2');
  await refused(peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, gateway: 'dtn1' }), 'SCI_NO_RESOURCE');
  await transfer(a.entry, arrived);
  assert.equal(await ls(), [
    ['dtn1', true, true, 1, 1],
    ['dtn2', true, false, 2, 2],
  ]);
  const { stdout } = await user.made.run(['gateway', 'ls', ...there]);
  assert.match(stdout, /dtn1 +\S+ +drained +1 +1\/16 +- +100 Gb\/s +dtn 100g\n/);
  await user.made.json('gateway', 'undrain', 'dtn1', ...there);
  assert.is((await setUp(peer, target1)).gateway, 'dtn1');
  peer.cut();
});

interface Listed {
  readonly name: string;
  readonly up: boolean;
  readonly drained: boolean;
  readonly streams: number;
  readonly ports: { readonly used: number };
}

s.run();
