/** Targets that lead back into the facility, in every notation: loops, the services of the gateway, its daemons. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { temporaryDirectory } from '@scistream/core/testing';
import { refused, type Peer } from '../support/clients.js';
import { freeRange } from '../support/ports.js';
import { LAN, TestServer, toAddress, WAN, type ServerOptions } from '../support/server.js';
import { suite } from '../support/suite.js';

const s = suite('loops');

/** A loopback address that does not look like one, so that the server counts as reachable from other hosts. */
const FOR_OTHERS = { host: '::ffff:127.0.0.1', port: 0 };
/** The address of the gateway behind NAT. */
const OUTSIDE = '198.51.100.9';
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  { use: 'token', tokens: ['alice', 'bob'].map((subject) => ({ subject, sha256: sha256(`${subject}-secret`) })) },
];

const update = (peer: Peer, uid: string, ...remoteListeners: string[]): Promise<unknown> =>
  peer.control.update({ uid, remoteListeners });

/** Notations of an IPv4 endpoint that a connection of the kernel, a translator or a tunnel resolves to it. */
function notations(host: string, port: number): readonly string[] {
  const [a = 0, b = 0, c = 0, d = 0] = host.split('.').map(Number);
  const [high, low] = [(a << 8) | b, (c << 8) | d].map((word) => word.toString(16));
  return [
    `${host}:${port}`,
    `[::ffff:${host}]:${port}`,
    `[::FFFF:${high}:${low}]:${port}`,
    `[0:0:0:0:0:ffff:${high}:${low}]:${port}`,
    `[64:ff9b::${host}]:${port}`,
    `[64:ff9b::${high}:${low}]:${port}`,
    `[2002:${high}:${low}::1]:${port}`,
    `[::${host}]:${port}`,
  ];
}

/** A server that other hosts could call, with a gateway behind NAT. */
async function natted(options: ServerOptions = {}): Promise<TestServer> {
  const ports = await freeRange(8);
  const gateway = { name: 'dtn1', s2ds: 'embedded', wan: WAN, lan: LAN, advertise: OUTSIDE, ports };
  const gateways = [{ ...gateway, proxy: 'relay', runtime: 'process' }] as ServerOptions['gateways'];
  return await TestServer.start({ auth: AUTH, listen: FOR_OTHERS, gateways, ...options });
}

s('a stream never gets its own listener as a target, in no notation', async () => {
  await using server = await TestServer.start();
  const { uid, entry } = await server.setUp();
  for (const target of notations(entry.host, entry.port)) {
    await refused(update(server.peer, uid, '192.0.2.1:9', target), 'SCI_TARGETS_INVALID');
  }
  assert.equal((await server.peer.streams.get({ uid })).targets, []);
});

s('streams of one control server never form a loop, also when two updates close it at the same time', async () => {
  await using server = await TestServer.start();
  const at = ({ host, port }: { host: string; port: number }): string => `[::ffff:${host}]:${port}`;
  const [a, b, c] = [await server.setUp(), await server.setUp({ role: 'CONS' }), await server.setUp()];
  await update(server.peer, b.uid, at(a.entry));
  await update(server.peer, c.uid, at(b.entry));
  await refused(update(server.peer, a.uid, at(c.entry)), 'SCI_TARGETS_INVALID');
  const [d, e] = [await server.setUp(), await server.setUp()];
  const both = await Promise.allSettled([
    update(server.peer, d.uid, at(e.entry)),
    update(server.peer, e.uid, at(d.entry)),
  ]);
  assert.equal(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  // The loop is open again when a stream on it has another target.
  await update(server.peer, b.uid, '192.0.2.1:9');
  await update(server.peer, a.uid, at(c.entry));
});

s('ports of the range without a listener and ports of the daemons are never targets', async () => {
  await using server = await TestServer.start({ listen: { host: '127.0.0.1', port: (await freeRange(1)).first } });
  const { uid } = await server.setUp();
  const control = toAddress(server.listening.address);
  const reserved = [
    ...notations(WAN, server.range.last),
    ...notations(LAN, server.range.last),
    ...notations(control.host, control.port),
    `localhost:${server.range.last}`,
    `localhost:${control.port}`,
  ];
  for (const target of reserved) await refused(update(server.peer, uid, target), 'SCI_TARGETS_INVALID');
  await update(server.peer, uid, `127.0.0.1:${server.range.last}`);
});

s('without a policy, addresses of the gateway are no targets, except listeners of the same owner', async () => {
  await using server = await natted();
  const [alice, bob] = [await server.connect('alice-secret'), await server.connect('bob-secret')];
  const inbound = await server.setUp({ peer: alice });
  const { uid } = await server.setUp({ role: 'CONS', peer: alice });
  for (const target of notations(OUTSIDE, 22)) await refused(update(alice, uid, target), 'SCI_FORBIDDEN');
  assert.is(inbound.entry.host, OUTSIDE);
  await update(alice, uid, `${OUTSIDE}:${inbound.entry.port}`);
  const other = await server.setUp({ role: 'CONS', peer: bob });
  await refused(update(bob, other.uid, `${OUTSIDE}:${inbound.entry.port}`), 'SCI_FORBIDDEN');
});

s('with a policy, addresses of the gateway need a rule for exactly that address', async () => {
  const directory = await temporaryDirectory();
  const policy = join(directory.path, 'policy.yaml');
  const rule = (...networks: string[]): object => ({
    rules: [{ name: 'lab', who: { identities: ['*'] }, encryption: ['none'], targets: { networks } }],
  });
  await writeFile(policy, JSON.stringify(rule('198.51.100.0/24', '64:ff9b::/96')), { mode: 0o600 });
  await using server = await natted({ policy });
  const alice = await server.connect('alice-secret');
  const { uid } = await server.setUp({ peer: alice });
  await update(alice, uid, '198.51.100.8:22');
  for (const target of notations(OUTSIDE, 22)) await refused(update(alice, uid, target), 'SCI_FORBIDDEN');
  await writeFile(policy, JSON.stringify(rule('198.51.100.0/24', `${OUTSIDE}/32`)), { mode: 0o600 });
  await server.server.reload(server.config);
  await update(alice, uid, `${OUTSIDE}:22`);
  await refused(update(alice, uid, `${OUTSIDE}:${server.range.last}`), 'SCI_TARGETS_INVALID');
  await directory.remove();
});

s('the kernel connects unspecified targets to this machine: no notation is accepted', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp();
  for (const target of [...notations('0.0.0.0', 9), '[::]:9', '[0::0]:9']) {
    await refused(update(server.peer, uid, target), 'SCI_ADDRESS_INVALID');
  }
  assert.equal((await server.peer.streams.get({ uid })).targets, []);
});

s.run();
