// needs: root, ip, netns
// suite: full
/** Two data servers in separate network namespaces: an encrypted stream moves from one to the other while data flows. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { dial, eventually, receiveAll, sendRandom, sendWhile, tcpServer, type Flow } from '@scistream/core/testing';
import { Home } from '../../cli/test/support/cli.js';
import { Daemon, GatewayDaemon } from '../support/daemon.js';
import { NOTHING } from '../support/leftovers.js';
import { island } from '../support/namespaces.js';
import { toAddress } from '../support/server.js';

const s = suite('moves between namespaces');

const TOKEN = 'token-of-the-operator';
const SHA256 = createHash('sha256').update(TOKEN).digest('hex');
const BYTES = 4 * 1024 * 1024;
const PATIENCE_MS = 60_000;

interface Listed {
  readonly name: string;
  readonly drained: boolean;
  readonly streams: number;
  readonly ports: { readonly used: number };
}

interface Status {
  readonly uid: string;
  readonly connect: readonly string[];
  readonly encryption: string;
  readonly from: { readonly gateway: string; readonly listeners: readonly string[]; readonly leaving?: string };
  readonly to: { readonly targets: readonly string[] };
}

const place = ({ far, prefix }: Awaited<ReturnType<typeof island>>) => ({ prefix, wan: far, lan: far });

const run = async (program = '', ...args: readonly string[]) => await promisify(execFile)(program, args);

/** The home of commands, removed at the end. */
async function home() {
  const made = await Home.create();
  return { made, [Symbol.asyncDispose]: () => made.remove() };
}

s('data flows before, during and after a move, intact; gateway ls shows it, and nothing is left behind', async () => {
  await using user = await home();
  await using one = await island(0);
  await using two = await island(1);
  for (const { prefix, near } of [one, two]) await run(...prefix, 'ip', 'route', 'add', 'default', 'via', near);
  await using first = await GatewayDaemon.start('dtn1', 16, place(one));
  await using second = await GatewayDaemon.start('dtn2', 16, place(two));
  const auth = [{ use: 'token', tokens: [{ subject: 'operator', sha256: SHA256, admin: true }] }];
  const gateways = [
    { name: 'dtn1', s2ds: first.address },
    { name: 'dtn2', s2ds: second.address, labels: ['100g'] },
  ];
  await using from = await Daemon.start({ config: { gateways, auth, encryption: 'required' } });
  await using to = await Daemon.start({ facility: 'alcf', config: { auth, encryption: 'required' } });
  const arrived: Promise<Flow>[] = [];
  // Both namespaces reach it through their own near ends.
  await using producer = await tcpServer((socket) => {
    const flow = receiveAll(socket);
    // Callers that await it see the error. Until then it must not end this process.
    flow.catch(() => undefined);
    arrived.push(flow);
    socket.once('end', () => socket.end());
  }, one.near);

  const token = join(user.made.path, 'token');
  await writeFile(token, TOKEN, { mode: 0o600 });
  const refs = [from, to].map(({ address, fingerprint }) => `${address}#${fingerprint}`);
  const [prod = '', cons = ''] = refs;
  const command = (...args: readonly string[]) => user.made.json(...args, '--token-file', token);
  const where = ['--from', prod, '--to', cons, '--producer', formatAddress(producer.address)];
  const { uid } = (await command('stream', 'up', ...where, '--movable', '--from-gateway', '100g')) as { uid: string };
  const status = async (): Promise<Status> => (await command('stream', 'status', uid)) as Status;
  const ls = async () => {
    const { gateways: found } = (await command('gateway', 'ls', '--s2cs', prod)) as { gateways: Listed[] };
    return found.map(({ name, drained, streams, ports }) => [name, drained, streams, ports.used]);
  };
  const before = await status();
  assert.is(before.encryption, 'tls');
  const gateway = before.from.gateway;
  assert.is(gateway, 'dtn2', 'the gateway with the label');
  const [old, now] = [second, 'dtn1'];
  const entry = toAddress(before.connect[0] ?? '');
  const transfer = async (): Promise<void> => {
    // Before it connects, because it may arrive at the other end immediately.
    const count = arrived.length;
    const socket = await dial(entry);
    const sent = await sendRandom(socket, BYTES);
    await receiveAll(socket);
    assert.equal([sent.bytes, await arrived[count]], [BYTES, sent]);
  };
  await transfer();

  let going = true;
  const socket = await dial(entry);
  const sending = sendWhile(socket, () => going);
  // Awaited below; an error before that takes precedence.
  sending.catch(() => undefined);
  await eventually(() => assert.is(arrived.length, 2));
  const drained = (await command('gateway', 'drain', gateway, '--s2cs', prod, '--move', '--grace', '10m')) as {
    moves: { uid: string; from: string; to: string; listeners: string[] }[];
  };
  assert.equal(
    drained.moves.map((move) => [move.uid, move.from, move.to]),
    [[uid, gateway, now]],
  );
  const moved = await status();
  assert.equal(
    [moved.from.gateway, moved.from.leaving, moved.from.listeners],
    [now, gateway, drained.moves[0]?.listeners],
  );
  const row = (name: string) => [name, name === gateway, 1, 1];
  assert.equal(await ls(), [row('dtn1'), row('dtn2')]);
  // Over the old listeners, because the other facility does not know the new ones yet.
  await transfer();
  const stale = await user.made.failure('stream', 'verify', uid, '--token-file', token);
  assert.is(stale.code, 'SCI_VERIFY_FAILED');
  assert.match(stale.message, 'the inbound side was moved');
  const followed = (await command('stream', 'update', uid)) as Status;
  assert.equal(followed.to.targets, moved.from.listeners);
  await command('stream', 'verify', uid);
  await transfer();
  going = false;
  const sent = await sending;
  await receiveAll(socket);
  assert.ok(sent.bytes > 0);
  assert.equal(await arrived[1], sent, 'the connection stayed open');
  await eventually(async () => assert.is((await status()).from.leaving, undefined), PATIENCE_MS);
  assert.equal(await old.leftovers(), NOTHING);
  const { stdout } = await user.made.run(['stream', 'status', uid, '--token-file', token]);
  assert.match(stdout, /movable +yes/);
  // Both are drained now.
  const again = ['gateway', 'drain', now, '--s2cs', prod, '--token-file', token, '--move'];
  const refused = await user.made.run(again);
  assert.is(refused.exitCode, 4);
  assert.match(
    refused.stdout,
    /not moved: No eligible gateway accepts new streams.*\[SCI_NO_RESOURCE\]\nTry: [^]*1 stream is still running/,
  );
  await command('stream', 'down', uid);
  assert.equal([await first.leftovers(), await second.leftovers(), await to.leftovers()], [NOTHING, NOTHING, NOTHING]);
});

s.run();
