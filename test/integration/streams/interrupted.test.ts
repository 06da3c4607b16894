/** What remains when the caller of the user client aborts it. */
import * as assert from 'uvu/assert';
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

s.run();
