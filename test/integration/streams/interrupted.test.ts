// suite: full
/** What remains when the caller of the user client aborts it. */
import * as assert from 'uvu/assert';
import { poll, SciStreamError } from '@scistream/core';
import { deafPath } from '../../support/deaf-path.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';
import { endpointOf, user } from '../../support/user.js';

const s = suite('interrupted creation of a stream');

s('nothing of a stream remains, at whichever step the signal aborts', async () => {
  await using from = await TestServer.start();
  await using to = await TestServer.start();
  for (const step of ['uid', 'reserved', 'encrypted', 'verified']) {
    const abort = new AbortController();
    const reason = new Error('enough');
    await using caller = await user({ onProgress: ({ kind }) => kind === step && abort.abort(reason) });
    const plan = { from: endpointOf(from), to: endpointOf(to), producer: ['127.0.0.1:9'] };
    const error: unknown = await caller.client.up(plan, abort.signal).catch((thrown: unknown) => thrown);
    assert.is(error, reason, step);
    for (const { peer } of [from, to]) assert.equal((await peer.streams.list({})).streams, [], step);
    assert.equal(await caller.journal(), [], step);
  }
});

/** The `to` side is behind a path that loses every answer, and then also every request. */
async function unanswered(deadlineMs: number, until: (abort: AbortController) => void) {
  await using from = await TestServer.start();
  await using to = await TestServer.start({ insecure: true });
  await using path = await deafPath(to.listening.address);
  await using caller = await user({ deadlineMs });
  const abort = new AbortController();
  const where = { from: endpointOf(from), to: path.address, producer: ['127.0.0.1:9'] };
  const plan = { ...where, encryption: 'none', waitMs: deadlineMs } as const;
  const failed = caller.client.up(plan, abort.signal).catch((thrown: unknown) => thrown);
  const uid = await poll(
    async () => (await to.peer.streams.list({})).streams[0]?.uid,
    { timeoutMs: 10_000 },
    () => new Error('REQ did not arrive'),
  );
  path.block();
  until(abort);
  const error = await failed;
  assert.equal((await from.peer.streams.list({})).streams, []);
  assert.equal(await caller.journal(), [`${uid}.json`]);
  if (!SciStreamError.is(error)) throw error;
  assert.match(error.suggestions.join(), `scistream stream down ${uid} --s2cs ${path.address}`);
  path.repair();
  await (await caller.client.find(uid, { forRelease: true })).down();
  assert.equal((await to.peer.streams.list({})).streams, []);
  assert.equal(await caller.journal(), []);
  return error.code;
}

s('after an abort, a side that received REQ and does not answer may remain', async () => {
  assert.is(
    await unanswered(60_000, (abort) => abort.abort(new SciStreamError('SCI_CLIENT_GONE', 'enough'))),
    'SCI_CLIENT_GONE',
  );
});

s('after the deadline, a side that received REQ and does not answer may remain', async () => {
  // Before the pings find out that the connection is dead, after 30 s.
  assert.is(await unanswered(10_000, () => undefined), 'SCI_DEADLINE');
});

s('a side that was never reached leaves no journal entry, even if an earlier connection existed', async () => {
  await using from = await TestServer.start();
  await using caller = await user();
  const plan = { from: endpointOf(from), producer: ['127.0.0.1:9'] };
  const code = async (to: string | ReturnType<typeof endpointOf>): Promise<string> => {
    const error: unknown = await caller.client.up({ ...plan, to }).catch((thrown: unknown) => thrown);
    if (!SciStreamError.is(error)) throw error;
    assert.not.match(error.suggestions.join(), 'stream down');
    assert.equal(await caller.journal(), []);
    return error.code;
  };
  assert.is(await code('127.0.0.1:1'), 'SCI_S2CS_UNREACHABLE', 'refused');
  assert.is(await code('no-such-host.invalid:5000'), 'SCI_S2CS_UNREACHABLE', 'unknown name');
  const gone = await TestServer.start();
  const endpoint = endpointOf(gone);
  await caller.client.list({ servers: [endpoint] });
  await gone[Symbol.asyncDispose]();
  assert.is(await code(endpoint), 'SCI_S2CS_UNREACHABLE', 'stopped');
});

s.run();
