/** Every field of every call of a control server, through its real handlers: JSON, protobuf, and bytes that are neither. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DescMethod } from '@bufbuild/protobuf';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { eventually, temporaryDirectory, testCredentials } from '@scistream/core/testing';
import { Control, v1 } from '@scistream/core/wire';
import { TestServer } from '../support/server.js';
import { mustBeAnswered, RawClient } from '../support/raw-client.js';
import { bytesField, field, frameOf, hostileCalls, hostileHeaders, jsonOf, pathOf, varint } from './calls.js';
import { hostileText, hostileValue, hunt } from './hunt.js';

const s = hunt('calls');

const directory = await temporaryDirectory();
await writeFile(join(directory.path, 'outside'), 'untouched');
const server = await TestServer.start({
  state: join(directory.path, 'state'),
  ports: 32,
  limits: { helloTimeoutMs: 3_000 },
});
const client = await RawClient.open(`${server.listening.scheme}://${server.listening.address}`);
let uid = '';
// On a busy machine HELLO may arrive too late.
await eventually(async () => void ({ uid } = await server.setUp({ targets: ['127.0.0.1:9'] })), 60_000);
const { inbound: tls } = await testCredentials();
s.after(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
  await directory.remove();
});

/** `watch` runs until its stream ends, and has its own property. */
const METHODS: readonly DescMethod[] = [...Control.methods, ...v1.Streams.methods].filter(
  ({ name }) => name !== 'Watch',
);

/** Values that let a call get as far as possible; nothing listens on these ports. */
const GOOD: Readonly<Record<string, unknown>> = {
  uid,
  role: 'PROD',
  numConn: 1,
  rate: 1,
  transport: 'tcp',
  prodListeners: ['127.0.0.1:9'],
  remoteListeners: ['127.0.0.1:9'],
  address: '127.0.0.1:9',
  challenge: '0'.repeat(64),
  holdMs: '1',
  name: 'dtn1',
  tls,
};
const SAMPLES = [uid, 'PROD', 'tomo.1', '127.0.0.1:9', 'relay', 'dtn1', 'tcp', tls.peer, '0'.repeat(64)];
/** Never the uid of a running stream: releasing the only one would make further calls trivial. */
const guarded = (method: DescMethod): Record<string, unknown> => ({
  ...Object.fromEntries(
    method.input.fields.flatMap(({ localName }) => (localName in GOOD ? [[localName, GOOD[localName]]] : [])),
  ),
  ...(method.name === 'release' || method.name === 'req'
    ? { uid: 'a-stream-of-nobody', ...(method.name === 'req' ? { proxy: 'nobody' } : {}) }
    : {}),
});

const { anyMethod, changes, messages, framed, bodies } = hostileCalls({
  methods: METHODS,
  samples: SAMPLES,
  uid,
  tls,
  head: [field(3, 0, varint(1n)), bytesField(103, Buffer.from('nobody'))],
});

s('call: fields as JSON', changes, async ([method, fields]) => {
  const kept = fields.filter(([, one]) => !(method.name === 'release' && one === uid));
  const good = Object.entries(guarded(method)).filter(([name]) => !kept.some(([other]) => other === name));
  const headers = { 'content-type': 'application/json', 'connect-protocol-version': '1' };
  mustBeAnswered(await client.call(pathOf(method), headers, jsonOf([...good, ...kept])));
});

const CHANGING = new Set(['release', 'req']);

s('call: fields as protobuf', fc.tuple(anyMethod, messages), async ([method, message]) => {
  if (CHANGING.has(method.name) && message.includes(uid)) return;
  mustBeAnswered(await client.call(pathOf(method), { 'content-type': 'application/proto' }, message));
});

const paths = fc.oneof(
  anyMethod.map(pathOf),
  fc.constantFrom('', '..', '%00', 'scistream.Control/__proto__', 'scistream.Control/req?x=1'),
);

s('call: bytes', fc.tuple(paths, hostileHeaders, bodies), async ([path, head, body]) => {
  if (/req|release/.test(path) && body.includes(uid)) return;
  mustBeAnswered(await client.call(path, head, body));
});

/** Ends on its own, whatever it watches: most watch nothing, some the existing stream. */
const BRIEFLY = { 'grpc-timeout': '20m', 'connect-timeout-ms': '20' };
const watched = fc.oneof(fc.constant(uid), hostileText(SAMPLES), fc.constantFrom('a-stream-of-nobody', 'bad shape!'));
const asked = watched.map((one) => bytesField(1, Buffer.from(one)));
const watches = fc.oneof(
  fc.tuple(fc.constant('application/grpc'), asked.map(frameOf)),
  fc.tuple(fc.constant('application/grpc-web'), asked.map(frameOf)),
  fc.tuple(
    fc.constantFrom('application/connect+json', 'application/grpc+json'),
    fc
      .array(fc.tuple(fc.constantFrom('uid', '__proto__', 'constructor'), fc.oneof(watched, hostileValue)))
      .map((fields) => frameOf(Buffer.from(jsonOf(fields)))),
  ),
  fc.tuple(
    fc.constantFrom('application/grpc', 'application/connect+proto', 'application/json'),
    fc.oneof(framed, bodies),
  ),
);

s('watch', watches, async ([type, body]) => {
  const answer = await client.call(pathOf(v1.Streams.method.watch), { 'content-type': type, ...BRIEFLY }, body);
  mustBeAnswered(answer);
});

s.test(
  'afterwards there is the one stream, no defect in the log, and nothing outside the state directory',
  async () => {
    const { streams } = await server.peer.streams.list({});
    assert.equal(
      streams.map((one) => one.uid).filter((one) => one === uid),
      [uid],
    );
    const defects = server.log.lines.filter(({ level, message }) => level === 'error' || message === 'internal error');
    assert.equal(defects, []);
    assert.equal((await readdir(directory.path)).sort(), ['outside', 'state']);
    assert.is(await readFile(join(directory.path, 'outside'), 'utf8'), 'untouched');
    assert.is((await server.peer.streams.get({ uid })).uid, uid);
  },
);

s.run();
