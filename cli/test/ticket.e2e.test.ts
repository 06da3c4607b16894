// suite: full
import { createHash } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatTicket,
  makeCredentials,
  parseTicket,
  type StreamList,
  type StreamStatus,
  type VerifyResult,
} from '@scistream/core/client';
import { greeting, json, Producer, scistream, start, startFacilities, type Facilities } from './support/facilities.js';

const TOKEN = 'a-token-that-must-not-be-seen';

interface Ticket {
  readonly uid: string;
  readonly ticket: string;
  readonly verified?: boolean;
  readonly unverified?: { readonly code: string };
}

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

s(
  'bob connects to the inbound side of alice, and each releases their own side',
  async ({ facilities, bob, producer }) => {
    const { aps, alcf, dir } = facilities;
    const inbound = ['stream', 'up', '--inbound', '--from', `${aps.address}#${aps.fingerprint}`, '--name', 'shared'];
    const token = ['--token-file', join(dir, 'token'), '--producer', producer.address, '--verbose'];
    const alice = await json<StreamStatus & { ticket: string }>(facilities, 0, ...inbound, ...token);
    const to = ['--to', `${alcf.address}#${alcf.fingerprint}`];
    const made = await json<Ticket & StreamStatus>(bob, 0, 'stream', 'up', '--outbound', alice.ticket, ...to);
    assert.is(made.verified, true, 'the ticket says how the listeners of alice answer a probe');
    const { text, socket } = await greeting(made.connect[0] ?? '');
    assert.is(text, 'data');
    socket.destroy();

    const checked = await json<VerifyResult>(bob, 0, 'stream', 'verify', 'shared');
    assert.equal(
      checked.hops.map((hop) => [hop.checked, hop.ok]),
      [
        [true, true],
        [true, true],
        [false, null],
        [false, null],
      ],
      'what bob may not ask is shown as not checked, and his gateway checks the path',
    );
    assert.equal([checked.verified, checked.hops[1]?.proof], [true, 'tls']);
    assert.is(checked.hops[2]?.error?.code, 'SCI_UNAUTHENTICATED');
    assert.is(producer.connections, 1, 'the check does not reach the producer');
    assert.is(
      (await json<Failure>(bob, 2, 'stream', 'update', 'shared', '--producer', '127.0.0.1:1')).error.code,
      'SCI_USAGE',
    );

    await json(bob, 0, 'stream', 'down', 'shared');
    const left = await json<StreamStatus>(facilities, 0, 'stream', 'status', 'shared');
    assert.is(left.from?.state, 'idle', 'the side of alice still exists');
    for (const file of await readdir(dir, { recursive: true })) {
      const path = join(dir, file);
      if (file === 'token' || !(await stat(path)).isFile()) continue;
      assert.not.match(await readFile(path, 'utf8'), TOKEN, `${file} contains the token`);
    }
    await json(facilities, 0, 'stream', 'down', 'shared');
  },
);

s('a ticket of an earlier version proves TCP only', async ({ facilities, bob, producer }) => {
  const { aps, alcf, dir } = facilities;
  const inbound = ['stream', 'up', '--inbound', '--from', `${aps.address}#${aps.fingerprint}`];
  const token = ['--token-file', join(dir, 'token'), '--producer', producer.address];
  const alice = await json<Ticket>(facilities, 0, ...inbound, ...token);
  const { probe, ...earlier } = parseTicket(alice.ticket);
  assert.is(probe, 'data');
  const to = ['--to', `${alcf.address}#${alcf.fingerprint}`, '--wait', '2s'];
  const before = producer.connections;
  const made = await json<Ticket>(bob, 0, 'stream', 'up', '--outbound', formatTicket(earlier), ...to);
  assert.equal([made.verified, made.unverified?.code], [false, 'SCI_NOT_OFFERED']);
  await json(bob, 0, 'stream', 'down', made.uid);

  const { to: tls } = makeCredentials(new Date(Date.now() + 3_600_000));
  const stranger = formatTicket({ ...earlier, probe, tls });
  const { error } = await json<Failure>(bob, 4, 'stream', 'up', '--outbound', stranger, ...to);
  assert.is(
    error.code,
    'SCI_VERIFY_FAILED',
    'credentials that the listeners reject are no longer accepted with a warning',
  );
  assert.is(producer.connections, before);
  await json(facilities, 0, 'stream', 'down', alice.uid);
});

s(
  'a ticket whose path fails or cannot be checked is an error, unless --unverified',
  async ({ facilities, bob, producer }) => {
    const { aps, alcf, dir } = facilities;
    const from = ['stream', 'up', '--inbound', '--from', `${aps.address}#${aps.fingerprint}`, '--name', 'open'];
    const token = ['--token-file', join(dir, 'token'), '--producer', producer.address];
    const to = ['--to', `${alcf.address}#${alcf.fingerprint}`, '--wait', '2s'];
    const before = producer.connections;
    const gone = await json<Ticket>(facilities, 0, ...from, ...token);
    await json(facilities, 0, 'stream', 'down', gone.uid);
    const plain = await json<Ticket>(facilities, 0, ...from, ...token, '--encryption', 'none');
    const tickets = [
      { ticket: gone.ticket, more: [], code: 'SCI_VERIFY_FAILED' },
      // A connection without TLS would reach the producer.
      { ticket: plain.ticket, more: ['--encryption', 'none'], code: 'SCI_UNAUTHENTICATED' },
    ];
    for (const { ticket, more, code } of tickets) {
      const up = ['stream', 'up', '--outbound', ticket, ...to, ...more];
      const { error } = await json<Failure>(bob, 4, ...up);
      assert.is(error.code, 'SCI_VERIFY_FAILED');
      assert.match(error.suggestions.join(), '--unverified');
      assert.equal((await json<StreamList>(bob, 0, 'stream', 'ls')).streams, [], 'the outbound side is released');

      const kept = await json<Ticket>(bob, 0, ...up, '--unverified');
      assert.equal([kept.verified, kept.unverified?.code], [false, code]);
      await json(bob, 0, 'stream', 'down', kept.uid);
      for (const quiet of [[], ['--quiet']]) {
        const { stdout, stderr } = await scistream(bob, ...up, '--unverified', ...quiet);
        assert.match(stdout, 'is not verified');
        assert.is(stderr.includes('is not verified'), quiet.length > 0);
        await json(bob, 0, 'stream', 'down', 'open');
      }
    }
    assert.is(producer.connections, before);
    await json(facilities, 0, 'stream', 'down', plain.uid);
  },
);

s('the complete output of stream up is accepted as a ticket', async ({ facilities, bob, producer }) => {
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

s('without a valid token nothing is created and nothing is recorded', async ({ bob, producer }) => {
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

s('legacy commands read their token from the environment', async ({ facilities, producer }) => {
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
