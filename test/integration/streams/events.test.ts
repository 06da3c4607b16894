/** Callers that follow the events of streams: order, restarts of a control server, visibility, limits. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { StreamHistoryEvent } from '@scistream/core/client';
import { toSciStreamError } from '@scistream/core/terminal';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { oldServer } from '../../support/old-server.js';
import { freeRange } from '../../support/ports.js';
import { portOf, TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';
import { endpointOf, user } from '../../support/user.js';

const s = suite('followed events');

const LOCAL = '127.0.0.1';
const PLAN = { producer: [`${LOCAL}:9`], name: 'tomo' } as const;

/** A directory that is removed at the end. */
async function scratch() {
  const directory = await temporaryDirectory();
  return { path: directory.path, [Symbol.asyncDispose]: () => directory.remove() };
}

/** Collects events until the sequence ends. `ended` settles then, with the code of an error. */
function collect<T extends StreamHistoryEvent>(events: AsyncIterable<T>) {
  const seen: T[] = [];
  const read = async (): Promise<string> => {
    for await (const event of events) seen.push(event);
    return 'end';
  };
  const ended = read().catch((error: unknown) => toSciStreamError(error).code);
  const whats = (): readonly string[] => seen.map(({ what }) => what);
  return { seen, whats, ended };
}

s('the history comes first, then each event, until the stream has ended', async () => {
  await using server = await TestServer.start();
  await using caller = await user();
  const from = endpointOf(server);
  const { handle } = await caller.client.inbound({ from, ...PLAN });
  const { seen, whats, ended } = collect(handle.followEvents());
  const created = ['requested', 'reserved', 'hello', 'targets'];
  await eventually(async () => assert.equal(whats(), created));
  await handle.update({ producer: [`${LOCAL}:10`] });
  await eventually(async () => assert.equal(whats(), [...created, 'targets']));
  await handle.down();
  assert.is(await ended, 'end');
  assert.equal(whats(), [...created, 'targets', 'released']);
  const ids = seen.map(({ id = 0 }) => id);
  assert.ok(ids.every((id, i) => id > (ids[i - 1] ?? 0)));

  const found = await caller.client.find('tomo', { servers: [from] });
  assert.is(found.initial.state, 'released', 'the name of an ended stream resolves');
  const late = collect(found.followEvents());
  assert.is(await late.ended, 'end');
  assert.equal(late.seen, seen);
});

s('no event is lost or repeated when the control server restarts', async () => {
  await using directory = await scratch();
  const range = await freeRange(16);
  const site = { state: directory.path, range };
  const first = await TestServer.start(site);
  await using caller = await user();
  const stop = new AbortController();
  const from = endpointOf(first);
  const lost: string[] = [];
  const onLost = ({ code }: { code: string }, retrying: boolean): void => void lost.push(`${code} ${retrying}`);
  const { handle } = await caller.client.inbound({ from, ...PLAN });
  const one = collect(handle.followEvents({ onLost }));
  const all = collect(caller.client.followEvents({ servers: [from], signal: stop.signal, onLost }));
  await eventually(async () => assert.is(one.seen.length, 4));
  // Until the call for all streams has its position, an update may be before it.
  await eventually(async () => {
    await handle.update({ producer: [`${LOCAL}:10`] });
    assert.ok(all.seen.length > 0);
  });
  await first.server.stop();
  first.peer.cut();
  await eventually(async () => assert.is(lost.length, 2));
  {
    await using _second = await TestServer.start({ ...site, listen: { host: LOCAL, port: portOf(first) } });
    // Before the callers are back.
    await handle.update({ producer: [`${LOCAL}:11`] });
    await handle.down();
    assert.is(await one.ended, 'end');
    assert.equal(one.whats().slice(-3), ['recovered', 'targets', 'released']);
    assert.equal(one.seen, await handle.events());
    await eventually(async () => {
      const own = all.seen.map(({ facility: _f, uid: _u, name: _n, owner: _o, ...event }) => event);
      assert.equal(own, one.seen.slice(-own.length));
      assert.is(own.at(-1)?.what, 'released');
    });
    assert.equal([...new Set(lost)], ['SCI_S2CS_UNREACHABLE true']);
    stop.abort(new Error('enough'));
    await all.ended;
  }
});

s('callers see the events of their own streams, and admins those of all', async () => {
  await using directory = await scratch();
  const names = ['alice', 'bob', 'root'];
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
  const tokens = names.map((subject) => ({ subject, sha256: sha256(subject), admin: subject === 'root' }));
  await using server = await TestServer.start({ auth: [{ use: 'token', tokens }] });
  const endpoint = async (name: string) => {
    const file = join(directory.path, name);
    await writeFile(file, name, { mode: 0o600 });
    return endpointOf(server, file);
  };
  await using caller = await user();
  const stop = new AbortController();
  const follow = async (name: string, owner?: string) =>
    collect(caller.client.followEvents({ servers: [await endpoint(name)], signal: stop.signal, owner }));
  const [alice, bob, root, ofBob] = await Promise.all([
    follow('alice'),
    follow('bob'),
    follow('root'),
    follow('root', 'token:bob'),
  ]);
  const from = await endpoint('alice');
  // Until every call has its position.
  await eventually(async () => {
    const { handle } = await caller.client.inbound({ from, ...PLAN });
    await handle.down();
    assert.ok(alice.seen.length > 0 && root.seen.length > 0);
  });
  const made = await caller.client.inbound({ from: await endpoint('bob'), ...PLAN, name: 'other' });
  await eventually(async () => {
    for (const { seen } of [bob, root, ofBob]) assert.is(seen.at(-1)?.uid, made.handle.uid);
  });
  assert.equal([...new Set(alice.seen.map(({ owner }) => owner))], ['token:alice']);
  assert.equal([...new Set(bob.seen.map(({ owner, name }) => `${owner} ${name}`))], ['token:bob other']);
  assert.equal([...new Set(root.seen.map(({ owner }) => owner))], ['token:alice', 'token:bob']);
  assert.equal([...new Set(ofBob.seen.map(({ owner }) => owner))], ['token:bob']);
  const refused = server.connect('Bearer alice');
  const stranger = (await refused).streams.followEvents({ uid: made.handle.uid })[Symbol.asyncIterator]();
  await stranger.next().then(
    () => assert.unreachable('the stream of another owner'),
    () => undefined,
  );
  stop.abort(new Error('enough'));
  await Promise.all([alice, bob, root, ofBob].map(({ ended }) => ended));
});

s('a caller may not follow more often than limits.watchesPerIdentity', async () => {
  await using server = await TestServer.start({ limits: { watchesPerIdentity: 2 } });
  const follow = () => server.peer.streams.followEvents({ uid: '' })[Symbol.asyncIterator]();
  const [one, two, three] = [follow(), follow(), follow()];
  for (const each of [one, two]) assert.is((await each.next()).done, false);
  const error = await three.next().then(
    () => 'accepted',
    (thrown: unknown) => String(thrown),
  );
  assert.match(error, 'watchesPerIdentity');
});

s('an older control server does not offer it', async () => {
  await using older = await oldServer(5100);
  await using caller = await user();
  const { seen, ended } = collect(caller.client.followEvents({ servers: [older.address] }));
  assert.equal([await ended, seen], ['SCI_NOT_OFFERED', []]);
  assert.is(await collect(caller.client.followEvents()).ended, 'SCI_USAGE');
});

s.run();
