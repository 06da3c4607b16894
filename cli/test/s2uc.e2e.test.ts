// suite: full
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  greeting,
  json,
  leavesNothing,
  Producer,
  start,
  startFacilities,
  type Facilities,
  type Outcome,
} from './support/facilities.js';

interface Side {
  readonly uid: string;
  readonly listeners: readonly string[];
  readonly targets: readonly string[];
}

interface Context {
  facilities: Facilities;
  producer: Producer;
}

const s = suite<Context>('legacy commands of s2uc');
/** Adds a test that must release every stream it makes. */
const test = (name: string, run: (context: Context) => Promise<void>): void => s(name, leavesNothing(run));

s.before(async (context) => {
  context.facilities = await startFacilities();
});
s.after(async ({ facilities }) => facilities.stop());
s.before.each(async (context) => {
  context.producer = await Producer.start(context.facilities.host, 'first');
});
s.after.each(({ producer }) => producer.stop());

const s2uc = (facilities: Facilities, ...args: string[]): Promise<Outcome> => start(facilities, 's2uc', args).outcome;

/** The certificate of a control server, as a PEM file. */
async function certificate({ dir }: Facilities, address: string): Promise<string> {
  const [host, port] = address.split(':');
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  const pem = socket.getPeerX509Certificate()?.toString() ?? '';
  socket.destroy();
  const file = join(dir, `${String(port)}-${String(host)}.crt`);
  await writeFile(file, pem);
  return file;
}

test('inbound-request, outbound-request and release work as in the legacy client', async ({ facilities, producer }) => {
  const { aps, alcf } = facilities;
  const [ip, port] = producer.address.split(':') as [string, string];
  const apsCert = await certificate(facilities, aps.address);
  const alcfCert = await certificate(facilities, alcf.address);
  const dashes = ['--s2cs', aps.address, '--server-cert', apsCert, '--remote-ip', ip, '--receiver-ports', port];
  const first = await s2uc(facilities, 'inbound-request', ...dashes, '--num-conn', '2', '--rate', '10000');
  assert.is(first.code, 0, first.stderr);
  const uid = /^uid: (\S+)$/m.exec(first.stdout)?.[1] ?? '';
  const listeners = [...first.stdout.matchAll(/^listeners: (\S+)$/gm)].map((match) => match[1] ?? '');
  assert.is(listeners.length, 2);

  const underscores = ['--s2cs', alcf.address, '--server_cert', alcfCert, '--num_conn', '2'];
  const second = await s2uc(facilities, 'outbound_request', ...underscores, '--json', uid, listeners.join(','));
  assert.is(second.code, 0, second.stderr + second.stdout);
  const outbound = JSON.parse(second.stdout) as Side;
  assert.is(outbound.uid, uid);
  assert.equal(outbound.targets, listeners);
  const { text, socket } = await greeting(outbound.listeners[0] ?? '');
  assert.is(text, 'first');
  socket.destroy();

  const one = await s2uc(facilities, 'release', uid, '--s2cs', `${aps.address}#${aps.fingerprint}`);
  assert.is(one.code, 0, one.stderr);
  const status = await json<{ state: string; diagnosis: string }>(facilities, 0, 'stream', 'status', uid);
  assert.is(status.state, 'failed', 'one side is released, the other is not');
  const both = ['--s2cs', `${aps.address}#${aps.fingerprint}`, '--s2cs', `${alcf.address}#${alcf.fingerprint}`];
  assert.is((await s2uc(facilities, 'release', ...both, uid)).code, 0);
});

test('outbound-request without a uid creates one', async ({ facilities, producer }) => {
  const { alcf } = facilities;
  const server = ['--s2cs', `${alcf.address}#${alcf.fingerprint}`, '--num-conn', '1'];
  const made = await s2uc(facilities, 'outbound-request', ...server, '--json', producer.address);
  assert.is(made.code, 0, made.stdout);
  const { uid, listeners } = JSON.parse(made.stdout) as Side;
  assert.match(uid, /^[0-9a-f-]{36}$/);
  const { text, socket } = await greeting(listeners[0] ?? '');
  assert.is(text, 'first');
  socket.destroy();
  assert.is((await s2uc(facilities, 'release', uid, ...server.slice(0, 2))).code, 0);
});

test('failures exit with a non-zero code', async ({ facilities }) => {
  const { aps } = facilities;
  const server = ['--s2cs', `${aps.address}#${aps.fingerprint}`];
  const cases: [number, string[]][] = [
    [4, ['release', 'no-such-stream', ...server]],
    [7, ['release', 'no-such-stream', '--s2cs', `${facilities.host}:5000`, '--insecure']],
    [7, ['inbound-request', '--s2cs', aps.address, '--remote-ip', '127.0.0.1', '--receiver-ports', '5001']],
    [2, ['inbound-request', ...server, '--remote-ip', '127.0.0.1', '--receiver-ports', 'many']],
    [2, ['inbound-request', ...server, '--remote-ip', 'no host', '--receiver-ports', '5001']],
    [2, ['outbound-request', ...server, 'some-uid-0001']],
    [2, ['no-such-command']],
  ];
  for (const [code, args] of cases) {
    const outcome = await s2uc(facilities, ...args);
    assert.is(outcome.code, code, `${args.join(' ')}: ${outcome.stdout}${outcome.stderr}`);
    assert.is(outcome.stdout, '');
    assert.match(outcome.stderr, /\[SCI_\w+\]/);
  }
});

test('s2uc runs the commands of stream', async ({ facilities, producer }) => {
  const args = ['tomo', '--producer', producer.address, '--config', facilities.config, '--json'];
  const made = await s2uc(facilities, 'up', ...args);
  assert.is(made.code, 0, made.stdout);
  const { uid } = JSON.parse(made.stdout) as Side;
  assert.is((await s2uc(facilities, 'down', uid)).code, 0);
  const help = await s2uc(facilities, '--help');
  assert.match(help.stdout, 'inbound-request');
  assert.match(help.stdout, 'stream up');
});

s.run();
