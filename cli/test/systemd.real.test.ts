// needs: systemd-notify
// suite: full
/** Notifications to the service manager, received by a stand-in that listens on NOTIFY_SOCKET. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { freeRange } from '../../test/support/ports.js';
import { Home, nextLine, REPOSITORY, resultOf } from './support/cli.js';

const s = suite<{ home: Home }>('systemd');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const PATIENCE_MS = 60_000;
/** Prints every datagram as a line of JSON. Node.js has no datagram sockets in the file system. */
const LISTENER = `
import json, socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
print('"listening"', flush=True)
while True:
    print(json.dumps(manager.recv(4096).decode()), flush=True)
`;

/** Stands in for systemd. */
class Manager implements AsyncDisposable {
  readonly #heard: string[] = [];

  private constructor(
    readonly path: string,
    private readonly child: ChildProcess & { readonly stdout: NodeJS.ReadableStream },
  ) {
    createInterface(child.stdout).on('line', (line) => this.#heard.push(String(JSON.parse(line))));
  }

  static async start(home: Home): Promise<Manager> {
    const path = join(home.path, 'notify');
    const child = spawn('/usr/bin/python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const manager = new Manager(path, child);
    await manager.hears('listening');
    return manager;
  }

  /** The environment of a daemon that it starts. */
  environment(watchdogMs?: number): NodeJS.ProcessEnv {
    return { NOTIFY_SOCKET: this.path, ...(watchdogMs && { WATCHDOG_USEC: String(watchdogMs * 1000) }) };
  }

  count(text: string): number {
    return this.#heard.filter((heard) => heard.split('\n').includes(text)).length;
  }

  async hears(text: string, times = 1): Promise<void> {
    await eventually(() => assert.ok(this.count(text) >= times, `${text} in ${this.#heard.join('; ')}`), PATIENCE_MS);
  }

  /** The received notifications without barriers and repetitions. */
  get story(): readonly string[] {
    const firsts = this.#heard.flatMap((heard) => /^(\w+=1)$/m.exec(heard)?.[1] ?? []);
    const told = firsts.filter((word) => word !== 'BARRIER=1' && word !== 'WATCHDOG=1');
    return told.filter((word, i) => word !== told[i - 1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }
}

async function s2cs(home: Home, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const { first, last } = await freeRange(17);
  const gateways = [{ name: 'dtn1', wan: '127.0.0.2', lan: '127.0.0.3', ports: `${first}-${last - 1}` }];
  const config = { facility: 'aps', listen: `127.0.0.1:${last}`, state: join(home.path, 'state'), gateways };
  const file = join(home.path, 's2cs.conf');
  await writeFile(file, JSON.stringify(config));
  return home.start('s2cs.js', ['--config', file], env);
}

async function s2ds(home: Home, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const { first, last } = await freeRange(16);
  const listen = `unix:${join(home.path, 's2ds.sock')}`;
  const file = join(home.path, 's2ds.conf');
  await writeFile(
    file,
    JSON.stringify({ name: 'dtn1', listen, state: join(home.path, 'state'), ports: `${first}-${last}` }),
  );
  return home.start('s2ds.js', ['--config', file], env);
}

/** Collects the log of a daemon from now on. @returns a function that waits for a line */
function listenTo({ stderr }: ChildProcess): (text: RegExp) => Promise<void> {
  if (!stderr) throw new Error('no stderr');
  let said = '';
  stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return (text) => eventually(() => assert.match(said, text), PATIENCE_MS);
}

for (const [name, start] of [
  ['s2cs', s2cs],
  ['s2ds', s2ds],
] as const) {
  s(`${name} notifies ready, reloading and stopping, and sends keep-alives`, async ({ home }) => {
    await using manager = await Manager.start(home);
    const daemon = await start(home, manager.environment(1_000));
    const result = resultOf(daemon);
    await nextLine(daemon);
    await manager.hears('READY=1');
    await manager.hears('WATCHDOG=1', 3);
    daemon.kill('SIGHUP');
    await manager.hears('RELOADING=1');
    await manager.hears('READY=1', 2);
    daemon.kill('SIGTERM');
    assert.is((await result).exitCode, 0);
    await manager.hears('STOPPING=1');
    assert.equal(manager.story, ['READY=1', 'RELOADING=1', 'READY=1', 'STOPPING=1']);
  });
}

s('a daemon with an unwritable store sends no keep-alives and logs the reason', async ({ home }) => {
  await using manager = await Manager.start(home);
  const daemon = await s2cs(home, manager.environment(200));
  const logs = listenTo(daemon);
  const result = resultOf(daemon);
  await manager.hears('WATCHDOG=1', 2);
  // Like a full disk: from now on the process can extend no file.
  const limit = spawn('prlimit', ['--fsize=0:0', '--pid', String(daemon.pid)], { stdio: 'inherit' });
  assert.equal(await once(limit, 'exit'), [0, null]);
  await logs(/health check failed, watchdog keep-alive withheld/);
  // Notifications arrive in order, so no earlier keep-alive is still on its way.
  daemon.kill('SIGHUP');
  await manager.hears('RELOADING=1');
  const beats = manager.count('WATCHDOG=1');
  await manager.hears('READY=1', 2);
  daemon.kill('SIGTERM');
  await result;
  await manager.hears('STOPPING=1');
  assert.is(manager.count('WATCHDOG=1'), beats);
});

s('a daemon runs although it cannot reach the service manager', async ({ home }) => {
  const daemon = await s2ds(home, { NOTIFY_SOCKET: join(home.path, 'nobody') });
  const result = resultOf(daemon);
  await nextLine(daemon);
  daemon.kill('SIGTERM');
  const { exitCode, stderr } = await result;
  assert.is(exitCode, 0);
  assert.match(stderr, /service manager notification failed/);
});

s('the units restart a daemon until its network is there', async ({ home }) => {
  const { first } = await freeRange(1);
  // An address that no interface has.
  const config = { listen: `192.0.2.1:${first}`, state: 's2cs', auth: [{ use: 'none' }] };
  const file = join(home.path, 's2cs.conf');
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  const { exitCode, stderr } = await resultOf(home.start('s2cs.js', ['--config', file]));
  assert.is(exitCode, 7, stderr);
  for (const name of ['s2cs', 's2ds']) {
    const unit = await readFile(join(REPOSITORY, 'examples', 'systemd', `scistream-${name}.service`), 'utf8');
    for (const line of ['StartLimitIntervalSec=0', 'Restart=on-failure', 'RestartSec=2s'])
      assert.match(unit, new RegExp(`^${line}$`, 'm'));
  }
});

s.run();
