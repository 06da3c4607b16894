/** Every field of every call of a data server, through its real handlers, from a control server that misbehaves. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { createProviders, GatewayDaemon, LocalGateway } from '@scistream/core/internal';
import { eventually, temporaryDirectory, testCredentials } from '@scistream/core/testing';
import { GatewayService } from '@scistream/core/wire';
import { leftovers, NOTHING } from '../support/leftovers.js';
import { CapturedLog } from '../support/logs.js';
import { freeRange } from '../support/ports.js';
import { mustBeAnswered, RawClient } from '../support/raw-client.js';
import { LAN, WAN } from '../support/server.js';
import { bytesField, field, hostileCalls, hostileHeaders, jsonOf, pathOf, varint } from './calls.js';
import { hostileText, hunt } from './hunt.js';

const s = hunt('calls of a data server');

const PATIENCE_MS = 60_000;
const directory = await temporaryDirectory();
await writeFile(join(directory.path, 'outside'), 'untouched');
const state = join(directory.path, 'state');
const socket = join(directory.path, 's.sock');
const ports = await freeRange(16);
const settings = { name: 'dtn1', wan: WAN, lan: LAN, ports, proxy: 'relay', runtime: 'process' };
const providers = createProviders([], { proxies: { relay: { processes: 1 } }, runtimes: {}, plugins: [] });
const log = new CapturedLog();
const gateway = new LocalGateway(settings, providers, log, state);
const daemon = new GatewayDaemon({ listen: `unix:${socket}`, state }, gateway, log);
await daemon.start();
const client = await RawClient.open('http://localhost', { createConnection: () => connect(socket) });
const uid = 'a-stream-of-ours';
const { inbound: tls } = await testCredentials();
const JSON_CALL = {
  'content-type': 'application/json',
  'connect-protocol-version': '1',
  'scistream-s2cs': 'the-one-and-only',
};

/** Headers as its control server sends them. */
async function command(name: string, message: object): Promise<{ readonly state?: string }> {
  const { status, body } = await client.call(`${GatewayService.typeName}/${name}`, JSON_CALL, JSON.stringify(message));
  assert.is(status, 200, body.toString());
  return JSON.parse(body.toString()) as { readonly state?: string };
}
/** Makes the stream if it does not exist. */
async function setUp(): Promise<void> {
  await command('Reserve', { uid, spec: { role: 'PROD', transport: 'tcp', connections: 1, encryption: 'none' } });
  await command('Start', { uid });
  await command('SetTargets', { uid, targets: ['127.0.0.1:9'] });
}
await setUp();

s.after(async () => {
  client.close();
  await daemon.stop({ release: true });
  await directory.remove();
});

/** Calls that answer when the stream ends. */
const WAITING = new Set(['AwaitEnd', 'AwaitRestart']);
/** Calls that would end the stream, which makes further calls trivial, or wait for its end. */
const ELSEWHERE = new Set(['Release', ...WAITING]);

const GOOD: Readonly<Record<string, unknown>> = {
  uid,
  uids: [uid],
  spec: { role: 'PROD', transport: 'tcp', connections: 1, encryption: 'tls', sources: ['10.0.0.0/8'] },
  targets: ['127.0.0.1:9'],
  address: '127.0.0.1:9',
  challenge: '0'.repeat(64),
  holdMs: '1',
  tls,
};
const SAMPLES = [uid, 'PROD', 'tcp', '127.0.0.1:9', 'relay', 'process', '10.0.0.0/8', tls.peer, '0'.repeat(64)];
const METHODS = GatewayService.methods;
const { anyMethod, changes, messages, framed, bodies } = hostileCalls({
  methods: METHODS,
  samples: SAMPLES,
  uid,
  tls,
  head: [bytesField(3, Buffer.from('tcp')), field(4, 0, varint(1n))],
});

/** Returns what a call may have reserved, so that the next one finds free ports and our stream. */
async function tidy(path: string): Promise<void> {
  if (path.endsWith('/Keep')) await setUp();
  if (path.endsWith('/Reserve')) await command('Keep', { uids: [uid] });
}

/** Whether `Keep` would end our stream: making it again takes long. */
const endsOurs = (name: string, message: string | Uint8Array): boolean =>
  name === 'Keep' && !Buffer.from(message).includes(uid);
const elsewhere = (name: string, message: string | Uint8Array): boolean =>
  !ELSEWHERE.has(name) || !Buffer.from(message).includes(uid);

/** Whether a call with this `holdMs` would take long. Other types are errors. */
const isLong = (ms: unknown): boolean => (typeof ms === 'string' || typeof ms === 'number') && Number(ms) > 100;

s('data server: fields as JSON', changes, async ([method, fields]) => {
  const names = new Set(fields.map(([name]) => name));
  const known = method.input.fields.flatMap(({ localName }) => (localName in GOOD ? [localName] : []));
  const good = known.filter((name) => !names.has(name)).map((name) => [name, GOOD[name]] as const);
  const own = good.map(([name, value]) =>
    name === 'uid' && (ELSEWHERE.has(method.name) || method.name === 'Reserve')
      ? ([name, 'a-stream-of-nobody'] as const)
      : ([name, value] as const),
  );
  // The call holds the connection for this time, at most ten seconds.
  const kept = fields.filter(([name, value]) => name !== 'holdMs' || !isLong(value));
  const message = jsonOf([...own, ...kept]);
  if (endsOurs(method.name, message) || !elsewhere(method.name, message)) return;
  mustBeAnswered(await client.call(pathOf(method), JSON_CALL, message));
  await tidy(pathOf(method));
});

s('data server: fields as protobuf', fc.tuple(anyMethod, messages), async ([method, message]) => {
  if (endsOurs(method.name, message) || !elsewhere(method.name, message)) return;
  mustBeAnswered(await client.call(pathOf(method), { ...JSON_CALL, 'content-type': 'application/proto' }, message));
  await tidy(pathOf(method));
});

const callers = fc.oneof(fc.constant('the-one-and-only'), hostileText(['the-one-and-only']));
const heads = fc
  .tuple(hostileHeaders, callers)
  // Clients cannot send values that are not allowed in a header.
  .map(([head, caller]) => ({ ...head, 'scistream-s2cs': caller.replace(/[^\x20-\x7e]/g, '') }));

const places = fc.constantFrom('', '/', '..', '//', '%', '%00', 'http://[', `${GatewayService.typeName}/__proto__`);
const authorities = fc.constantFrom('localhost', '%', '::1:5000');

s(
  'data server: bytes',
  fc.tuple(anyMethod, fc.option(places), authorities, heads, fc.oneof(framed, bodies)),
  async ([method, place, authority, head, body]) => {
    if (endsOurs(method.name, body) || !elsewhere(method.name, body)) return;
    const path = place ?? pathOf(method);
    mustBeAnswered(await client.call(path, { ...head, ':authority': authority }, body));
    await tidy(path);
  },
);

s.test('afterwards there is the one stream and, when it has ended, nothing; no defect in the log', async () => {
  await command('Keep', { uids: [uid] });
  assert.is((await command('Status', { uid })).state, 'running');
  const defects = log.lines.filter(({ level, message }) => level === 'error' || message === 'internal error');
  assert.equal(defects, []);
  assert.equal((await readdir(directory.path)).sort(), ['outside', 's.sock', 'state']);
  assert.is(await readFile(join(directory.path, 'outside'), 'utf8'), 'untouched');
  await command('Release', { uid });
  await eventually(async () => assert.equal(await leftovers(state, ports), NOTHING), PATIENCE_MS);
});

s.run();
