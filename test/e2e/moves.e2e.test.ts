// suite: full
/** A stream that moves to another gateway while daemons of an operator are killed with SIGKILL. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { eventually, exchange, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { connectPeer, type Peer } from '../support/clients.js';
import { Daemon, GatewayDaemon } from '../support/daemon.js';
import { leftovers, NOTHING } from '../support/leftovers.js';
import { freeRange, listeningIn } from '../support/ports.js';
import { toAddress } from '../support/server.js';

const s = suite('moves');

const PATIENCE_MS = 60_000;
/** More writes than a move has. */
const MOST = 12;
const TOKEN = 'token-of-the-operator';
const SHA256 = createHash('sha256').update(TOKEN).digest('hex');
const AUTH = [{ use: 'token', tokens: [{ subject: 'operator', sha256: SHA256, admin: true }] }];

/** Kills its process right before or after the database write that a file selects. */
const DIE_AT = pathToFileURL(join(import.meta.dirname, '../faults/die-at.js')).href;

const connect = ({ peerOptions }: Daemon): Promise<Peer> => connectPeer({ ...peerOptions, authorization: TOKEN });

/** @returns false if the control server died before the move was complete */
async function move({ streams }: Peer, gateway: string): Promise<boolean> {
  try {
    for await (const { error } of streams.moveStreams({ gateway, graceMs: 0n })) assert.is(error?.code, undefined);
    return true;
  } catch {
    return false;
  }
}

/** A control server that dies at a given write, with an embedded gateway and a separate data server. */
async function site() {
  const directory = await temporaryDirectory();
  const step = join(directory.path, 'step');
  const b = await GatewayDaemon.start('b');
  const ports = await freeRange(8);
  const a = { name: 'a', wan: '127.0.0.2', lan: '127.0.0.3', ports: `${ports.first}-${ports.last}` };
  const config = { gateways: [a, { name: 'b', s2ds: b.address }], auth: AUTH };
  const prefix = ['env', `NODE_OPTIONS=--import=${DIE_AT}`, `SCISTREAM_TEST_STEP=${step}`];
  const server = await Daemon.start({ config, prefix });
  const dispose = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await b[Symbol.asyncDispose]();
    await directory.remove();
  };
  const left = { a: () => leftovers(server.state, ports), b: () => b.leftovers() };
  return { server, ports, left, range: b.range, step, [Symbol.asyncDispose]: dispose };
}

for (const [from, to] of [
  ['a', 'b'],
  ['b', 'a'],
] as const) {
  s(
    `kill -9 at every write of a move from ${from} to ${to}: the stream works on one of them, and the other has nothing`,
    async () => {
      await using made = await site();
      await using target = await tcpServer(named('t'));
      const { server } = made;
      let peer = await connect(server);
      let deaths = 0;
      for (let write = 0; write < MOST; write += 1) {
        const uid = randomUUID();
        await Promise.all([
          peer.control.req({ uid, role: 'PROD', numConn: 1, gateway: from, movable: true }),
          peer.control.hello({ uid }),
        ]);
        await peer.control.update({ uid, remoteListeners: [formatAddress(target.address)] });
        await writeFile(made.step, `${write} ${write % 2 === 0 ? 'after' : 'before'}`);
        const survived = (await move(peer, from)) && !readFileSync(made.step, 'utf8').startsWith('0 ');
        await writeFile(made.step, `${Number.MAX_SAFE_INTEGER} never`);
        if (!survived) {
          deaths += 1;
          peer.cut();
          await server.kill();
          await server.again();
          peer = await connect(server);
        }
        const { gateway, listeners } = await peer.streams.get({ uid });
        assert.is(await exchange(toAddress(listeners[0] ?? ''), 'x'), 'tx', `after write ${write}`);
        await eventually(async () => {
          const [onA, onB] = [await listeningIn(made.ports), await listeningIn(made.range)];
          assert.equal(
            [onA.length, onB.length],
            gateway === 'a' ? [1, 0] : [0, 1],
            `after write ${write} on ${gateway}`,
          );
        }, PATIENCE_MS);
        await peer.control.release({ uid });
        await peer.streams.drainGateway({ name: from, drained: false });
        if (survived) break;
      }
      assert.ok(deaths >= 2, `${deaths} deaths`);
      peer.cut();
      assert.equal([await made.left.a(), await made.left.b()], [NOTHING, NOTHING]);
    },
  );
}

s.run();
