/** The user client and control servers that it can ask only in part: older ones, and unreachable ones. */
import { connect } from 'node:net';
import { once } from 'node:events';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import type { S2UC, StreamHandle } from '@scistream/core/client';
import { oldServer } from '../../support/old-server.js';
import { freeRange } from '../../support/ports.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';
import { endpointOf, user } from '../../support/user.js';

const s = suite('control servers that answer in part');

async function failure(call: Promise<unknown>): Promise<SciStreamError> {
  const error: unknown = await call.then(() => new Error('it succeeded')).catch((thrown: unknown) => thrown);
  if (SciStreamError.is(error)) return error;
  throw error;
}

/** A stream over two older servers. */
async function plainStream(client: S2UC, from: string, to: string): Promise<StreamHandle> {
  const plan = { from, to, producer: ['10.0.0.1:5001'], encryption: 'none', name: 'old', verify: true } as const;
  return await client.up(plan);
}

s('a stream over servers of the existing protocol is created, shown as unknown, updated and released', async () => {
  await using from = await oldServer(5100);
  await using to = await oldServer(5200);
  await using caller = await user();
  const { client } = caller;
  const made = await plainStream(client, from.address, to.address);
  assert.equal([made.verification?.ok, made.verification?.verified], [true, false]);
  assert.equal([...new Set(made.verification?.hops.map(({ checked, ok }) => `${checked} ${ok}`))], ['false null']);

  const servers = [from.address, to.address];
  const { streams, unreachable } = await client.list({ servers });
  assert.equal(
    streams.map(({ uid, name, state }) => [uid, name, state]),
    [[made.uid, 'old', 'unknown']],
  );
  assert.equal([...new Set(unreachable.map(({ error }) => error.code))], ['SCI_NOT_OFFERED']);

  const found = await client.find('old');
  assert.is(found.initial.encryption, 'none');
  assert.is((await found.status()).state, 'unknown');
  assert.is((await found.verify({ full: true })).verified, false);
  assert.is((await found.update({ producer: ['10.0.0.2:5001'] })).state, 'unknown');
  assert.is(await (await client.find('old', { forRelease: true })).down(), undefined);
  for (const { calls, streams: left } of [from, to]) assert.equal([calls.at(-1), left.size], ['release', 0]);
  assert.equal(await caller.journal(), []);
  assert.equal((await client.list({ servers })).streams, []);
});

s('a uid may be requested at servers that cannot say whether it is free', async () => {
  await using from = await oldServer(5100);
  await using to = await oldServer(5200);
  await using caller = await user();
  const plan = { from: from.address, to: to.address, producer: ['10.0.0.1:5001'], encryption: 'none' } as const;
  const { uid } = await caller.client.up({ ...plan, uid: 'requested-0001' });
  assert.is(uid, 'requested-0001');
});

s('a side that an older server no longer has is not called released, and down may be repeated', async () => {
  await using from = await oldServer(5100);
  await using to = await oldServer(5200);
  await using caller = await user();
  const { uid } = await plainStream(caller.client, from.address, to.address);
  await caller.client.release(uid, [to.address]);
  const down = async (): Promise<unknown> => (await caller.client.find('old', { forRelease: true })).down();
  const error = await failure(down());
  assert.is(error.code, 'SCI_STREAM_NOT_FOUND');
  assert.match(error.message, 'Outbound side');
  assert.is(from.streams.size, 0, 'the other side is released');
  assert.equal(await caller.journal(), [], 'the same credentials have nothing left to release');
  assert.is((await failure(down())).code, 'SCI_STREAM_NOT_FOUND');
});

s('without the journal, a stream at older servers is released by its uid', async () => {
  await using from = await oldServer(5100);
  await using to = await oldServer(5200);
  await using caller = await user();
  await using other = await user();
  const { uid } = await plainStream(caller.client, from.address, to.address);
  const how = { servers: [from.address, to.address], forRelease: true };
  const ended = await failure(other.client.find('some-other-uid', how).then((handle) => handle.down()));
  assert.is(ended.code, 'SCI_STREAM_NOT_FOUND');
  await (await other.client.find(uid, how)).down();
  assert.equal([from.streams.size, to.streams.size], [0, 0]);
});

s('plain text at a port with TLS leaves nothing behind, and the error says so', async () => {
  await using from = await TestServer.start();
  await using to = await TestServer.start();
  await using caller = await user();
  const sides = { from: from.listening.address, to: to.listening.address };
  const error = await failure(caller.client.up({ ...sides, producer: ['127.0.0.1:9'], encryption: 'none' }));
  assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
  assert.is(error.suggestions.length, 1, 'no hint at a stream that may remain');
  assert.match(error.suggestions.join(), 'Remove --insecure');
  assert.equal(await caller.journal(), []);
});

/** An address where nothing listens. */
async function deaf(): Promise<string> {
  const { first } = await freeRange(1);
  await once(connect({ host: '127.0.0.1', port: first }), 'error');
  return formatAddress({ host: '127.0.0.1', port: first });
}

s('down of a stream outside the journal names a server that did not answer, and may be repeated', async () => {
  await using from = await TestServer.start();
  await using to = await TestServer.start();
  await using caller = await user();
  await using other = await user();
  const plan = { from: endpointOf(from), to: endpointOf(to), producer: ['127.0.0.1:9'], name: 'tomo' };
  const { uid } = await caller.client.up(plan);
  const away = await deaf();
  const down = async (ref: string, server: typeof away | typeof plan.to): Promise<unknown> => {
    const servers = [plan.from, server];
    return await (await other.client.find(ref, { servers, ended: false, forRelease: true })).down();
  };
  for (const ref of ['tomo', 'tomo', uid, uid]) {
    const error = await failure(down(ref, away));
    assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
    assert.match(error.message, `${away} may have a side`);
    assert.ok(error.suggestions.includes(`scistream stream down ${uid}`));
    assert.is((await from.peer.streams.get({ uid })).state, 'released', 'the other side is released');
  }
  await down(uid, plan.to);
  assert.is((await to.peer.streams.get({ uid })).state, 'released');
});

s('a search at servers that all fail reports the error of the first one', async () => {
  await using caller = await user();
  const [first, second] = [await deaf(), await deaf()];
  for (const forRelease of [false, true]) {
    const error = await failure(caller.client.find('tomo', { servers: [first, second], forRelease }));
    assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
    assert.match(error.message, first);
  }
});

s('a search that finds nothing gives the reason of each server that failed', async () => {
  await using server = await TestServer.start();
  await using caller = await user();
  const away = await deaf();
  const error = await failure(caller.client.find('tomo', { servers: [endpointOf(server), away] }));
  assert.is(error.code, 'SCI_STREAM_NOT_FOUND');
  assert.match(error.message, away);
  assert.match(error.message, 'SCI_S2CS_UNREACHABLE');
});

s('a stream is not shown as ready or released while one of its sides is unreachable', async () => {
  await using from = await TestServer.start();
  const to = await TestServer.start();
  await using caller = await user();
  const plan = { from: endpointOf(from), to: endpointOf(to), producer: ['127.0.0.1:9'] };
  const handle = await caller.client.up(plan);
  await to[Symbol.asyncDispose]();
  const listed = async (): Promise<readonly string[]> =>
    (await caller.client.list({ servers: [plan.from], ended: true })).streams.map(({ state }) => state);
  assert.equal(await listed(), ['unknown']);
  assert.is((await handle.status()).state, 'unknown');
  await failure(handle.down());
  assert.is((await handle.status()).from?.state, 'released');
  assert.is((await handle.status()).state, 'unknown');
});

s('down of a stream in the journal names every side that was not released', async () => {
  await using from = await TestServer.start();
  const to = await TestServer.start();
  await using caller = await user();
  const { uid } = await caller.client.up({ from: endpointOf(from), to: endpointOf(to), producer: ['127.0.0.1:9'] });
  await to[Symbol.asyncDispose]();
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const found = await caller.client.find(uid, { ended: false, forRelease: true });
    const error = await failure(found.down());
    assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
    assert.match(error.message, 'Outbound side');
  }
  assert.equal(await caller.journal(), [`${uid}.json`]);
});

s.run();
