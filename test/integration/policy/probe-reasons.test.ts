// suite: full
/** A caller that may probe a target, but not use it, does not learn whether it is closed or does not answer. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { temporaryDirectory } from '@scistream/core/testing';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('reasons of probes');

s('the answer about a closed port has no reason, no time, and takes as long as one without an answer', async () => {
  const directory = await temporaryDirectory();
  const policy = join(directory.path, 'policy.yaml');
  const rule = { who: { identities: ['*'] }, encryption: ['none'], targets: { networks: ['127.0.0.5'] } };
  const write = (actions: readonly string[]): Promise<void> =>
    writeFile(policy, JSON.stringify({ rules: [{ ...rule, actions }] }), { mode: 0o600 });
  await write(['request', 'hello', 'update', 'view', 'release']);
  const sha256 = createHash('sha256').update('alice-secret').digest('hex');
  const auth = [{ use: 'token', tokens: [{ subject: 'alice', sha256 }] }];
  await using server = await TestServer.start({ auth, policy });
  const alice = await server.connect('alice-secret');
  const { uid } = await server.setUp({ peer: alice, targets: ['127.0.0.5:9'] });
  await write(['request', 'hello', 'probe', 'view', 'release']);
  await server.server.reload(server.config);
  const begun = performance.now();
  const [result] = (await alice.streams.connectTargets({ uid })).results;
  assert.equal([result?.connected, result?.error, result?.roundTripUs], [false, 'not reached', 0n]);
  assert.ok(performance.now() - begun > 10_000);
  await directory.remove();
});

s.run();
