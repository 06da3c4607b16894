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
// A machine may be so busy that HELLO comes too late.
await eventually(async () => void ({ uid } = await server.setUp({ targets: ['127.0.0.1:9'] })), 60_000);
const { PROD: tls } = await testCredentials();
s.after(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
  await directory.remove();
});

/** `watch` goes on for as long as its stream does. */
const METHODS: readonly DescMethod[] = [...Control.methods, ...v1.Streams.methods].filter(
  ({ name }) => name !== 'Watch',
);
const pathOf = ({ parent, name }: DescMethod): string => `${parent.typeName}/${name}`;

/** Values with which a call gets as far as it can; ports where nobody listens. */
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
/** Never one of a stream that goes on: releasing the only one would make the rest of the calls shallow. */
const guarded = (method: DescMethod): Record<string, unknown> => ({
  ...Object.fromEntries(
    method.input.fields.flatMap(({ localName }) => (localName in GOOD ? [[localName, GOOD[localName]]] : [])),
  ),
  ...(method.name === 'release' || method.name === 'req'
    ? { uid: 'a-stream-of-nobody', ...(method.name === 'req' ? { proxy: 'nobody' } : {}) }
    : {}),
});

const text = hostileText(SAMPLES);
/** A text, a list of them, a number or anything: what fits the field, or nearly. */
const value = fc.oneof(text, fc.array(text, { maxLength: 3 }), hostileValue, fc.integer(), fc.constant(tls));
const anyMethod = fc.constantFrom(...METHODS);
const changes = anyMethod.chain((method) => {
  const names = [...method.input.fields.map(({ localName }) => localName), '__proto__', 'constructor', 'uid', 'tls'];
  return fc.tuple(
    fc.constant(method),
    fc.array(fc.tuple(fc.constantFrom(...names), value), { minLength: 1, maxLength: 3 }),
  );
});

/** Text, so that a key can come twice, or be `__proto__`. */
const jsonOf = (entries: readonly (readonly [string, unknown])[]): string =>
  `{${entries.map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one) ?? 'null'}`).join()}}`;

s('call: fields as JSON', changes, async ([method, fields]) => {
  const kept = fields.filter(([, one]) => !(method.name === 'release' && one === uid));
  const good = Object.entries(guarded(method)).filter(([name]) => !kept.some(([other]) => other === name));
  const headers = { 'content-type': 'application/json', 'connect-protocol-version': '1' };
  mustBeAnswered(await client.call(pathOf(method), headers, jsonOf([...good, ...kept])));
});

const varint = (number: bigint): Buffer => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, number);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
};
const field = (number: number, type: number, content: Uint8Array): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + type)), content]);
const bytesField = (number: number, content: Uint8Array): Buffer =>
  field(number, 2, Buffer.concat([varint(BigInt(content.length)), content]));

const numbers = fc.oneof(
  fc.integer({ min: 1, max: 8 }),
  fc.integer({ min: 100, max: 108 }),
  fc.integer({ min: 0, max: 2 ** 28 }),
);
const contents = fc.oneof(
  text.map((one) => Buffer.from(one)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.concat([bytesField(1, Buffer.from(tls.certificate)), bytesField(2, Buffer.from(tls.key))])),
);
/** A field as protobuf writes one, of a type that may not be its own, or of one that does not exist. */
const wire = fc.oneof(
  { arbitrary: fc.tuple(numbers, contents).map(([number, content]) => bytesField(number, content)), weight: 4 },
  {
    arbitrary: fc
      .tuple(numbers, fc.bigInt(-(2n ** 63n), 2n ** 64n))
      .map(([number, one]) => field(number, 0, varint(one))),
    weight: 2,
  },
  {
    arbitrary: fc
      .tuple(numbers, fc.nat(7), fc.uint8Array({ maxLength: 9 }))
      .map(([number, type, rest]) => field(number, type, rest)),
    weight: 1,
  },
);
const messages = fc
  .tuple(fc.constantFrom(uid, 'a-stream-of-nobody', '../../outside'), fc.array(wire, { maxLength: 5 }), fc.nat(4))
  .map(([own, rest, cut]) => {
    const bytes = Buffer.concat([
      bytesField(1, Buffer.from(own)),
      bytesField(2, Buffer.from('PROD')),
      field(3, 0, varint(1n)),
      bytesField(103, Buffer.from('nobody')),
      ...rest,
    ]);
    return cut === 0 ? bytes.subarray(0, -1) : bytes;
  });
const CHANGING = new Set(['release', 'req']);

s('call: fields as protobuf', fc.tuple(anyMethod, messages), async ([method, message]) => {
  if (CHANGING.has(method.name) && message.includes(uid)) return;
  mustBeAnswered(await client.call(pathOf(method), { 'content-type': 'application/proto' }, message));
});

/** Length and flags in front of a message, as gRPC has them; they may lie. */
const framed = fc
  .tuple(fc.constantFrom(0, 1, 2, 0x80, 255), messages, fc.constantFrom(0, 0, 0, 1, -1, 5, 2 ** 31))
  .map(([flags, message, lie]) => {
    const head = Buffer.alloc(5);
    head.writeUInt8(flags, 0);
    head.writeUInt32BE(Math.max(0, message.length + lie), 1);
    return Buffer.concat([head, message]);
  });
const bodies = fc.oneof(
  framed,
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.alloc(0)),
);
const TYPES = [
  'application/grpc',
  'application/grpc+json',
  'application/grpc-web',
  'application/connect+json',
  'application/json',
  'application/proto',
  'text/plain',
  '',
];
const headers = fc.record(
  {
    'content-type': fc.constantFrom(...TYPES),
    'grpc-encoding': fc.constantFrom('identity', 'gzip', 'br', '__proto__'),
    'content-encoding': fc.constantFrom('identity', 'gzip', 'constructor'),
    'grpc-timeout': fc.constantFrom('1S', '99999999H', '-1S', '1', '__proto__'),
    authorization: fc.stringMatching(/^[\x20-\x7e]{0,40}$/),
  },
  { requiredKeys: ['content-type'], noNullPrototype: true },
);
const paths = fc.oneof(
  anyMethod.map(pathOf),
  fc.constantFrom('', '..', '%00', 'scistream.Control/__proto__', 'scistream.Control/req?x=1'),
);

s('call: bytes', fc.tuple(paths, headers, bodies), async ([path, head, body]) => {
  if (/req|release/.test(path) && body.includes(uid)) return;
  mustBeAnswered(await client.call(path, head, body));
});

s.test(
  'afterwards there is the one stream, no defect in the log, and nothing outside the state directory',
  async () => {
    const { streams } = await server.peer.streams.list({});
    assert.equal(
      streams.map((one) => one.uid).filter((one) => one === uid),
      [uid],
    );
    const defects = server.log.lines.filter(({ level, message }) => level === 'error' || message === 'defect');
    assert.equal(defects, []);
    assert.equal((await readdir(directory.path)).sort(), ['outside', 'state']);
    assert.is(await readFile(join(directory.path, 'outside'), 'utf8'), 'untouched');
    assert.is((await server.peer.streams.get({ uid })).uid, uid);
  },
);

s.run();
