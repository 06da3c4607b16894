// suite: full
/** Many concurrent requests: they do not delay or mix up others, and return everything. */
import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('load');

const WAITING = 1000;

/** Node.js allows access to the garbage collector at run time, too. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc()');
}

/** Bytes in use when nothing more is released: what calls hold is released some time after their answers. */
async function settledHeap(): Promise<number> {
  let lowest = Infinity;
  let steady = 0;
  await eventually(() => {
    collectGarbage();
    const { heapUsed } = process.memoryUsage();
    steady = heapUsed < 0.99 * lowest ? 0 : steady + 1;
    lowest = Math.min(lowest, heapUsed);
    assert.ok(steady >= 20, 'memory is still being released');
  });
  return lowest;
}

s('1000 requests that wait for HELLO use no process, and return everything', async () => {
  await using server = await TestServer.start({ ports: WAITING + 10, limits: { streams: WAITING + 10 } });
  const { control, streams } = server.peer;
  const bystander = await server.connect();
  const { uid } = await server.setUp({ peer: bystander });
  const uids = Array.from({ length: WAITING }, () => randomUUID());
  const ends = Promise.all(
    uids.map((waiting, i) =>
      refused(control.req({ uid: waiting, role: i % 2 ? 'PROD' : 'CONS', numConn: 1 }), 'SCI_STREAM_RELEASED'),
    ),
  );
  ends.catch(() => undefined);
  await eventually(async () => assert.is((await streams.describeServer({})).waiting, WAITING), 15_000);
  assert.is((await bystander.streams.get({ uid })).uid, uid, 'others are served');
  const held = await server.leftovers();
  assert.equal([held.listening.length, held.processes.length], [WAITING + 1, 1]);
  await refused(control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }), 'SCI_LIMIT_REACHED');
  await Promise.all(uids.map((waiting) => control.release({ uid: waiting })));
  await ends;
  const { waiting, gateways } = await streams.describeServer({});
  assert.equal([waiting, gateways[0]?.portsInUse], [0, 1]);
  await control.release({ uid });
  assert.equal(await server.leftovers(), NOTHING);
});

s('requests that come and go do not accumulate memory', async () => {
  const AT_ONCE = 200;
  await using server = await TestServer.start({ ports: AT_ONCE });
  const { control, streams } = server.peer;
  const round = async (): Promise<void> => {
    const uids = Array.from({ length: AT_ONCE }, () => randomUUID());
    const ends = uids.map((uid) => refused(control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_STREAM_RELEASED'));
    await Promise.all([...ends, releaseAll(uids)]);
    server.log.lines.splice(0);
  };
  const releaseAll = async (uids: readonly string[]): Promise<void> => {
    await eventually(async () => assert.is((await streams.describeServer({})).waiting, AT_ONCE));
    await Promise.all(uids.map((uid) => control.release({ uid })));
  };
  const rounds = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i += 1) await round();
    return await settledHeap();
  };
  // After 8 rounds compiled code and the records of the last 1000 ended streams are in memory. Nothing more may follow.
  const before = await rounds(8);
  const each = ((await rounds(6)) - before) / (6 * AT_ONCE);
  assert.ok(each < 1_000, `${each} bytes more per ended stream`);
  assert.equal(await server.leftovers(), NOTHING);
});

s('concurrent streams get their own answers and different listeners', async () => {
  const STREAMS = 24;
  await using server = await TestServer.start({ ports: STREAMS });
  const made = await Promise.all(
    Array.from({ length: STREAMS }, (_, i) =>
      server.setUp({ role: i % 3 ? 'PROD' : 'CONS', announced: [`10.0.${i}.1:5001`, `10.0.${i}.2:5002`] }),
    ),
  );
  made.forEach(({ req, hello }, i) => {
    const announced = [`10.0.${i}.1:5001`, `10.0.${i}.2:5002`];
    assert.equal(req.prodListeners, i % 3 ? announced : []);
    assert.equal(hello.listeners, i % 3 ? [] : req.listeners);
  });
  assert.is(new Set(made.map(({ entry }) => entry.port)).size, STREAMS);
  await Promise.all(made.map(({ uid }) => server.peer.control.release({ uid })));
  assert.equal(await server.leftovers(), NOTHING);
});

s.run();
