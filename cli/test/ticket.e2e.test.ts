// suite: full
import { createHash } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamStatus, VerifyResult } from '@scistream/core/client';
import { greeting, json, Producer, scistream, start, startFacilities, type Facilities } from './support/facilities.js';

const TOKEN = 'a-token-that-must-not-be-seen';

interface Failure {
  readonly error: { readonly code: string; readonly suggestions: readonly string[] };
}

const s = suite<{ facilities: Facilities; bob: Facilities; producer: Producer }>('a stream of two users');

s.before(async (context) => {
  const sha256 = createHash('sha256').update(TOKEN).digest('hex');
  context.facilities = await startFacilities({ auth: [{ use: 'token', tokens: [{ subject: 'alice', sha256 }] }] });
  const { dir, env, host } = context.facilities;
  await writeFile(join(dir, 'token'), TOKEN, { mode: 0o600 });
  context.bob = { ...context.facilities, env: { ...env, SCISTREAM_STATE_DIR: join(dir, 'bob') } };
  context.producer = await Producer.start(host, 'data');
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await facilities.stop();
});

s('bob connects to what alice has opened, and each ends their own side', async ({ facilities, bob, producer }) => {
  const { aps, alcf, dir } = facilities;
  const inbound = ['stream', 'up', '--inbound', '--from', `${aps.address}#${aps.fingerprint}`, '--name', 'shared'];
  const token = ['--token-file', join(dir, 'token'), '--producer', producer.address, '--verbose'];
  const alice = await json<StreamStatus & { ticket: string }>(facilities, 0, ...inbound, ...token);
  const to = ['--to', `${alcf.address}#${alcf.fingerprint}`];
  const made = await json<StreamStatus>(bob, 0, 'stream', 'up', '--outbound', alice.ticket, ...to);
  const { text, socket } = await greeting(made.connect[0] ?? '');
  assert.is(text, 'data');
  socket.destroy();

  const checked = await json<VerifyResult>(bob, 0, 'stream', 'verify', 'shared');
  assert.equal(
    checked.hops.map((hop) => [hop.checked, hop.ok]),
    [
      [true, true],
      [false, null],
      [false, null],
      [false, null],
    ],
    'what bob may not ask is shown as not checked',
  );
  assert.is(checked.hops[1]?.error?.code, 'SCI_UNAUTHENTICATED');
  assert.is(
    (await json<Failure>(bob, 2, 'stream', 'update', 'shared', '--producer', '127.0.0.1:1')).error.code,
    'SCI_USAGE',
  );

  await json(bob, 0, 'stream', 'down', 'shared');
  const left = await json<StreamStatus>(facilities, 0, 'stream', 'status', 'shared');
  assert.is(left.from?.state, 'idle', 'the side of alice is still there');
  for (const file of await readdir(dir, { recursive: true })) {
    const path = join(dir, file);
    if (file === 'token' || !(await stat(path)).isFile()) continue;
    assert.not.match(await readFile(path, 'utf8'), TOKEN, `${file} holds the token`);
  }
  await json(facilities, 0, 'stream', 'down', 'shared');
});

s('all that stream up printed will do for the ticket in it', async ({ facilities, bob, producer }) => {
  const { aps, alcf, dir } = facilities;
  const inbound = ['stream', 'up', '--inbound', '--from', `${aps.address}#${aps.fingerprint}`, '--name', 'piped'];
  const token = ['--token-file', join(dir, 'token')];
  const { stdout } = await scistream(facilities, ...inbound, ...token, '--producer', producer.address);
  assert.match(stdout, /\nscistream2\..*\n/);
  const outbound = ['stream', 'up', '--outbound', '-', '--to', `${alcf.address}#${alcf.fingerprint}`];
  const made = await start(bob, 'run', outbound, stdout).outcome;
  assert.is(made.code, 0, made.stderr);
  await json(bob, 0, 'stream', 'down', 'piped');
  await json(facilities, 0, 'stream', 'down', 'piped');
});

s('without a valid token nothing is made and nothing is remembered', async ({ bob, producer }) => {
  const { aps, alcf, dir } = bob;
  const sides = ['--from', `${aps.address}#${aps.fingerprint}`, '--to', `${alcf.address}#${alcf.fingerprint}`];
  const up = ['stream', 'up', ...sides, '--producer', producer.address];
  await writeFile(join(dir, 'wrong'), 'something-else');
  for (const token of [[], ['--token-file', join(dir, 'wrong')], ['--token-file', join(dir, 'missing')]]) {
    const { error } = await json<Failure>(bob, 6, ...up, ...token);
    assert.is(error.code, 'SCI_UNAUTHENTICATED');
    assert.not.match(error.suggestions.join(), 'Not released');
  }
  const { streams } = await json<{ streams: unknown[] }>(bob, 0, 'stream', 'ls');
  assert.equal(streams, []);
  assert.equal(await readdir(join(dir, 'bob', 'scistream', 'streams')), []);
});

s('old commands take their token from the environment', async ({ facilities, producer }) => {
  const { aps, env } = facilities;
  const [ip, port] = producer.address.split(':') as [string, string];
  const server = ['--s2cs', `${aps.address}#${aps.fingerprint}`];
  const args = ['inbound-request', ...server, '--remote_ip', ip, '--receiver_ports', port, '--json'];
  assert.is((await start(facilities, 's2uc', args).outcome).code, 6);
  const alice = { ...facilities, env: { ...env, SCISTREAM_ACCESS_TOKEN: TOKEN } };
  const made = await start(alice, 's2uc', args).outcome;
  assert.is(made.code, 0, made.stdout);
  const { uid } = JSON.parse(made.stdout) as { uid: string };
  assert.is((await start(alice, 's2uc', ['release', uid, ...server]).outcome).code, 0);
});

s.run();
