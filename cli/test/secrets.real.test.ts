// suite: full
/** Hunts for the keys of an encrypted stream everywhere but in the files of the proxies. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatTicket, parseTicket, type StreamStatus } from '@scistream/core/client';
import { eventually } from '@scistream/core/testing';
import { Home } from './support/cli.js';
import { greeting, json, Producer, scistream, start, startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ facilities: Facilities; producer: Producer; seen: Map<string, string> }>('secrets of a stream');

/** A place where text was found, and the text. */
type Findings = Map<string, string>;

s.before(async (context) => {
  context.facilities = await startFacilities({ verbose: true });
  context.producer = await Producer.start(context.facilities.host, 'data');
  context.seen = new Map();
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await facilities.stop();
});

/** Every file below the directory of the test, by its path there. */
async function files({ dir }: Facilities): Promise<Findings> {
  const found: Findings = new Map();
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found.set(path, await readFile(path, 'latin1'));
  }
  return found;
}

/** Arguments and environment of every process that this one may look at. */
async function processes(): Promise<Findings> {
  const found: Findings = new Map();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const file of ['cmdline', 'environ']) {
      const path = `/proc/${pid}/${file}`;
      found.set(path, await readFile(path, 'latin1').catch(() => ''));
    }
  }
  return found;
}

/** All forms in which the private number in a PEM key might show: lines of the PEM, and its bytes alone. */
function needles(pem: string): readonly string[] {
  const [first = '', second = ''] = pem.split(/\r?\n/).slice(1);
  const der = Buffer.from(first + second, 'base64');
  // PKCS #8 of P-256: the number is at 36 to 68; what follows is the public key.
  const secret = der.subarray(36, 68);
  assert.is(secret.length, 32);
  const forms = (['hex', 'base64', 'base64url'] as const).map((form) => secret.toString(form));
  return [first, second, ...forms, secret.toString('latin1')];
}

const keysIn = (text: string): readonly string[] =>
  [...text.matchAll(/-----BEGIN PRIVATE KEY-----(?:\\n|\r?\n)[^-]+-----END/g)].map(([pem]) =>
    pem.replaceAll('\\n', '\n'),
  );

/** Where one of the needles is. */
const where = (haystack: Findings, wanted: readonly string[]): readonly string[] =>
  [...haystack].flatMap(([place, text]) => (wanted.some((needle) => text.includes(needle)) ? [place] : []));

const isKeyOfControlServer = (path: string): boolean => path.endsWith('/tls/server.key');

s('are found by this hunt, where they may be', async ({ facilities, producer, seen }) => {
  const up = ['stream', 'up', 'tomo', '--producer', producer.address, '--verbose', '--json'];
  const made = await scistream(facilities, ...up);
  assert.is(made.code, 0, made.stdout + made.stderr);
  seen.set('output of up', made.stdout + made.stderr);
  const { uid, connect, encryption } = JSON.parse(made.stdout) as StreamStatus;
  assert.is(encryption, 'tls');
  const { text, socket } = await greeting(connect[0] ?? '');
  assert.is(text, 'data');
  socket.destroy();

  const stored = await files(facilities);
  const holders = [...stored].filter(([path, content]) => !isKeyOfControlServer(path) && keysIn(content).length > 0);
  assert.ok(holders.length >= 2, 'each gateway has a key of its own');
  for (const [path] of holders) assert.is((await stat(path)).mode & 0o777, 0o600, path);
  const keys = new Set(holders.flatMap(([, content]) => keysIn(content)));
  assert.is(keys.size, 2, 'one key per side');
  const wanted = [...keys].flatMap(needles);
  const instances = new Set(holders.map(([path]) => path));
  const elsewhere = where(stored, wanted).filter((path) => !instances.has(path));
  assert.equal(elsewhere, [], 'no other file has them: no record, no event, no journal');

  const looks = [
    ['status', uid],
    ['ls'],
    ['verify', uid, '--full'],
    ['update', uid, '--producer', producer.address],
  ].flatMap((args) => [args, [...args, '--json']]);
  await Promise.all(
    looks.map(async (args) => {
      const { code, stdout, stderr } = await scistream(facilities, 'stream', ...args, '--verbose');
      assert.is(code, 0, `${args.join(' ')}: ${stdout}${stderr}`);
      seen.set(`output of ${args.join(' ')}`, stdout + stderr);
    }),
  );
  const watching = start(facilities, 'run', ['stream', 'watch', uid, '--json', '--config', facilities.config]);
  await new Promise((resolve) => watching.lines.once('line', resolve));
  assert.equal(where(await processes(), wanted), [], 'no process has them in its arguments or its environment');
  const down = await scistream(facilities, 'stream', 'down', uid, '--json', '--verbose');
  seen.set('output of down', down.stdout + down.stderr);
  seen.set('output of watch', (await watching.outcome).stdout);
  seen.set('log of aps', facilities.aps.logged());
  seen.set('log of alcf', facilities.alcf.logged());
  assert.match(facilities.aps.logged(), uid, 'the log is the whole one');
  assert.equal(where(seen, wanted), []);
  assert.equal(where(await files(facilities), wanted), [], 'with the stream go its keys');
  const names = uid.replaceAll('-', '');
  for (const key of keys) {
    const hex = Buffer.from(key.replace(/-----[^-]+-----|\s/g, ''), 'base64').toString('hex');
    assert.not(key.includes(uid) || hex.includes(names) || hex.includes(Buffer.from(uid).toString('hex')));
  }
});

s('travel in a ticket, and nobody but its reader sees them', async ({ facilities, producer }) => {
  const inbound = ['stream', 'up', '--inbound', '--from', 'aps', '--producer', producer.address, '--name', 'shared'];
  const { ticket, uid } = await json<StreamStatus & { ticket: string }>(facilities, 0, ...inbound);
  const tls = parseTicket(ticket).tls;
  if (!tls) throw new Error('the ticket has no credentials');
  const wanted = [...needles(tls.key), ticket];
  assert.equal(where(await files(facilities), wanted), [], 'the journal of who made it does not keep it');
  assert.not.match((await scistream(facilities, 'stream', 'status', uid, '--json')).stdout, ticket.slice(20, 60));

  const outbound = ['stream', 'up', '--outbound', '-', '--to', 'alcf', '--verbose', '--json'];
  const broken = ticket.replace(/(.{70})/g, '$1\r\n');
  const running = start(facilities, 'run', [...outbound, '--config', facilities.config], broken);
  const made = await running.outcome;
  assert.is(made.code, 0, made.stdout + made.stderr);
  const { connect, encryption } = JSON.parse(made.stdout) as StreamStatus;
  assert.is(encryption, 'tls');
  const { text, socket } = await greeting(connect[0] ?? '');
  assert.is(text, 'data');
  socket.destroy();
  const stored = where(await files(facilities), wanted);
  assert.ok(stored.length > 0 && stored.every((path) => path.includes('/alcf/')), stored.join());
  const seen = new Map([
    ['output', made.stdout + made.stderr],
    ['log of aps', facilities.aps.logged()],
    ['log of alcf', facilities.alcf.logged()],
    ...(await processes()),
  ]);
  assert.equal(where(seen, wanted), []);

  const damaged = start(facilities, 'run', [...outbound, '--config', facilities.config], `${ticket.slice(0, -2)}zz`);
  const refused = await damaged.outcome;
  assert.is(refused.code, 2);
  assert.equal(where(new Map([['error', refused.stdout + refused.stderr]]), [...wanted, ticket.slice(12, 60)]), []);
  await json(facilities, 0, 'stream', 'down', uid);
  assert.equal(where(await files(facilities), wanted), []);
});

s('are blotted out of the arguments, if somebody has put them there', async ({ facilities }) => {
  // Takes connections and says nothing, so that the commands go on.
  const silent = createServer().listen(0, facilities.host);
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const server = ['--s2cs', `${facilities.host}:${port}`, '--insecure'];
  const ports = ['--remote-ip', '127.0.0.1', '--receiver-ports', '9', '--num-conn', '1'];
  const home = await Home.create();
  const token = 'a-token-among-the-arguments';
  const ticket = formatTicket({
    uid: randomUUID(),
    name: '',
    s2cs: { host: facilities.host, port },
    listeners: [{ host: facilities.host, port }],
    transport: 'tcp',
    connections: 1,
    bitsPerSecond: 0,
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
  });
  const outbound = ['--to', `${facilities.host}:${port}`, '--insecure', '--encryption', 'none'];
  try {
    for (const [secret, bin, ...args] of [
      [token, 's2uc.js', 'inbound-request', ...server, ...ports, '--access-token', token],
      [token, 's2uc.js', 'outbound_request', ...server, ...ports, `--access_token=${token}`],
      [token, 's2uc.js', 'release', randomUUID(), ...server, '--access-token', token],
      [ticket, 'run.js', 'stream', 'up', '--outbound', ticket, ...outbound],
    ] as const) {
      const child = home.start(bin, args);
      const ended = once(child, 'exit');
      const shown = (): Promise<string> => readFile(`/proc/${child.pid}/cmdline`, 'latin1');
      await eventually(async () => {
        const line = await shown();
        assert.ok(line.startsWith('s') && !line.includes(secret), line);
      });
      assert.is(child.exitCode, null, 'it still runs');
      child.kill('SIGKILL');
      await ended;
    }
  } finally {
    silent.close();
    await home.remove();
  }
});

s.run();
