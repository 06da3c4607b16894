// suite: full
/** Lists of streams and gateways, events that are followed, and ended streams. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayList, StreamHistoryEvent, StreamList, StreamStatus } from '@scistream/core/client';
import { eventually } from '@scistream/core/testing';
import { cleanUp, json, scistream, start, startFacilities, type Facilities } from './support/facilities.js';

/** Makes a command print as on a terminal of this width. */
const terminal = (columns: number): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--import data:text/javascript,process.stdout.isTTY=true;process.stdout.columns=${columns};process.stdout.getWindowSize=()=>[${columns},50]`,
});

const s = suite<{ facilities: Facilities }>('lists of streams and gateways');

s.before(async (context) => {
  const tokens = [{ subject: 'root', sha256: createHash('sha256').update('root').digest('hex'), admin: true }];
  context.facilities = await startFacilities({ auth: [{ use: 'token', tokens }], env: { LISTS_TOKEN: 'root' } });
  await configure(context.facilities, context.facilities.alcf.address);
});
s.after(async ({ facilities }) => facilities.stop());
/** Commands that run until they are interrupted. */
const running: ReturnType<typeof start>[] = [];
s.after.each(async ({ facilities }) => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL');
  await cleanUp(facilities);
});

/** Writes a configuration with the token of an admin. @param alcf Address of the control server of alcf */
async function configure({ aps, alcf: { fingerprint }, config }: Facilities, alcf: string): Promise<void> {
  const token = { env: 'LISTS_TOKEN' };
  const entries = {
    aps: { s2cs: aps.address, fingerprint: aps.fingerprint, token },
    alcf: { s2cs: alcf, fingerprint },
  };
  const streams = { tomo: { from: 'aps', to: 'alcf', connections: 2 } };
  await writeFile(config, JSON.stringify({ facilities: entries, streams }));
}

function follow({ config, ...facilities }: Facilities, ...args: readonly string[]) {
  const command = start({ ...facilities, config }, 'run', ['stream', 'events', ...args, '--config', config]);
  running.push(command);
  const seen: string[] = [];
  command.lines.on('line', (line) => seen.push(line));
  return { ...command, seen };
}

const up = (facilities: Facilities, ...more: string[]): Promise<StreamStatus> =>
  json(facilities, 0, 'stream', 'up', 'tomo', '--producer', '127.0.0.1:9', '--rate', '20Gbps', ...more);
const listed = async (facilities: Facilities, ...more: string[]): Promise<readonly string[]> =>
  (await json<StreamList>(facilities, 0, 'stream', 'ls', ...more)).streams.map(({ uid }) => uid);

s(
  'ls fits a terminal, shows full values in a pipe, selects, and prints names for other commands',
  async ({ facilities }) => {
    const name = `a-long-name-of-a-measurement-${'x'.repeat(30)}`;
    const { uid } = await up(facilities);
    const long = await up(facilities, '--name', name);
    const ls = async (...more: string[]): Promise<readonly string[]> =>
      (await scistream(facilities, 'stream', 'ls', ...more)).stdout.trimEnd().split('\n');
    const lines = await ls();
    assert.match(lines[0] ?? '', /^NAME +UID +STATE +OWNER +GATEWAY +AGE +RATE$/);
    assert.match(
      lines[1] ?? '',
      new RegExp(`^tomo +${uid} +ready +token:root +aps/aps-gw → alcf/alcf-gw +\\d+ \\w+ +20 Gb/s$`),
    );
    assert.match(lines[2] ?? '', new RegExp(`^${name} +${long.uid} `));
    assert.match((await ls('-o', 'wide'))[0] ?? '', 'CONNECT TO');

    const onTerminal = { ...facilities, env: { ...facilities.env, ...terminal(80) } };
    const { stdout } = await scistream(onTerminal, 'stream', 'ls');
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
    assert.match(stdout, new RegExp(`\\ntomo +${uid.slice(0, 8)} +ready +token:root +aps/aps-gw`));

    assert.equal(await ls('-o', 'name'), ['tomo', name]);
    const { stdout: document } = await scistream(facilities, 'stream', 'ls', '-o', 'json');
    assert.is((JSON.parse(document) as StreamList).streams.length, 2);
    const wrong = await scistream(facilities, 'stream', 'ls', '-o', 'json', '--state', 'nonesuch');
    assert.is((JSON.parse(wrong.stdout) as { error: { code: string } }).error.code, 'SCI_USAGE');

    const twin = await up(facilities);
    assert.equal(await ls('-o', 'name'), [uid, name, twin.uid], 'a shared name is no reference');
    assert.equal(await listed(facilities, '--state', 'ready', '--owner', 'token:root'), [uid, long.uid, twin.uid]);
    assert.equal(await listed(facilities, '--owner', 'none:other'), []);
    assert.equal(await listed(facilities, '--state', 'idle', '--state', 'waiting'), []);
    await json(facilities, 0, 'stream', 'down', twin.uid);
    assert.equal(await listed(facilities, '--state', 'released'), [twin.uid]);
  },
);

s('the name of an ended stream works for status and events, until a new stream has it', async ({ facilities }) => {
  const { uid } = await up(facilities, '--name', 'over');
  await json(facilities, 0, 'stream', 'down', 'over');
  const status = (): Promise<StreamStatus> => json(facilities, 0, 'stream', 'status', 'over');
  const { uid: found, state } = await status();
  assert.equal([found, state], [uid, 'released']);
  const events = await json<StreamHistoryEvent[]>(facilities, 0, 'stream', 'events', 'over');
  assert.is(events.at(-1)?.what, 'released');
  const next = await up(facilities, '--name', 'over');
  assert.is((await status()).uid, next.uid);
});

s('events --follow prints each event as a line, until the stream ends or Ctrl-C', async ({ facilities }) => {
  const { uid } = await up(facilities);
  const one = follow(facilities, uid, '--follow', '--json');
  const interrupted = follow(facilities, 'tomo', '-f');
  const all = follow(facilities, '--follow', '--all', '--json');
  // Until the call for all streams has its position, an update may be before it.
  await eventually(async () => {
    await json(facilities, 0, 'stream', 'update', uid, '--producer', '127.0.0.1:10');
    assert.ok(all.seen.length > 0 && interrupted.seen.length >= 8);
  });
  interrupted.interrupt();
  const { code, stderr, stdout } = await interrupted.outcome;
  assert.equal([code, stderr], [130, '']);
  assert.match(stdout, /^\d{4}-.* +from +requested +token:root/m);

  await json(facilities, 0, 'stream', 'down', uid);
  const ended = await one.outcome;
  const events = ended.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as StreamHistoryEvent);
  assert.is(ended.code, 0);
  assert.equal(
    events.slice(-2).map(({ what }) => what),
    ['released', 'released'],
  );
  assert.is(new Set(events.map(({ side, id }) => `${side} ${id}`)).size, events.length);
  await eventually(async () => {
    const last = JSON.parse(all.seen.at(-1) ?? '{}') as Partial<Record<string, string>>;
    assert.equal([last['what'], last['uid'], last['name']], ['released', uid, 'tomo']);
  });
  all.interrupt();
  assert.is((await all.outcome).code, 130);
  for (const args of [['tomo', '--follow', '--all'], ['--follow'], ['--all']])
    await json(facilities, 2, 'stream', 'events', ...args);
});

s('gateway ls lists all facilities, and why a gateway is drained or a facility is missing', async ({ facilities }) => {
  await up(facilities);
  const reason = 'new disk\u001b[2J, until 18:00';
  await json(facilities, 0, 'gateway', 'drain', 'aps-gw', '--s2cs', 'aps', '--reason', reason);
  await json(facilities, 2, 'gateway', 'drain', 'aps-gw', '--s2cs', 'aps', '--reason', 'x'.repeat(201));
  // A repeated drain changes neither the reason nor the time.
  await json(facilities, 0, 'gateway', 'drain', 'aps-gw', '--s2cs', 'aps', '--move');
  const ls = (code: number): Promise<GatewayList> => json(facilities, code, 'gateway', 'ls');
  const { gateways, unreachable } = await ls(0);
  const [first, second] = gateways;
  assert.equal(
    [first?.facility, first?.name, first?.drained, first?.streams, first?.capacity.used],
    ['aps', 'aps-gw', true, 1, 20e9],
  );
  assert.match(first?.drainReason ?? '', /^new disk[^]*, until 18:00$/);
  assert.ok(Math.abs(Date.parse(first?.drainedSince ?? '') - Date.now()) < 60_000);
  assert.equal([second?.facility, second?.drained, second?.drainedSince, unreachable], ['alcf', false, undefined, []]);
  const text = await scistream(facilities, 'gateway', 'ls');
  assert.match(text.stdout, /aps-gw +aps +drained +1 +2\/10 +20 Gb\/s +- +-\n/);
  assert.match(text.stdout, /\naps-gw is drained since .*: new disk.*, until 18:00\n/);
  await json(facilities, 0, 'gateway', 'undrain', 'aps-gw', '--s2cs', 'aps');
  assert.is((await ls(0)).gateways[0]?.drainReason, undefined);

  await cleanUp(facilities);
  // Nothing listens there.
  await configure(facilities, `${facilities.host}:5000`);
  const partial = await json<GatewayList>(facilities, 7, 'gateway', 'ls');
  assert.equal(
    [
      partial.gateways.map(({ name }) => name),
      partial.unreachable.map(({ facility, error }) => [facility, error.code]),
    ],
    [['aps-gw'], [['alcf', 'SCI_S2CS_UNREACHABLE']]],
  );
  const { code, stdout } = await scistream(facilities, 'gateway', 'ls');
  assert.is(code, 7);
  assert.match(stdout, /aps-gw +aps +up [^]*\nalcf is not listed: .* \[SCI_S2CS_UNREACHABLE\]\nTry: /);
  const only = await json<{ error: { code: string } }>(facilities, 7, 'gateway', 'ls', '--s2cs', 'alcf');
  assert.is(only.error.code, 'SCI_S2CS_UNREACHABLE');
  await configure(facilities, facilities.alcf.address);
});

s.run();
