/** Calls that none of our clients makes, for any service: JSON, protobuf, and bytes that are neither. */
import type { DescMethod } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { hostileText, hostileValue } from './hunt.js';

export const pathOf = ({ parent, name }: DescMethod): string => `${parent.typeName}/${name}`;

export const varint = (number: bigint): Buffer => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, number);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
};
export const field = (number: number, type: number, content: Uint8Array): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + type)), content]);
export const bytesField = (number: number, content: Uint8Array): Buffer =>
  field(number, 2, Buffer.concat([varint(BigInt(content.length)), content]));

/** A message with the gRPC frame header. */
export function frameOf(message: Uint8Array, flags = 0, lie = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(Math.max(0, message.length + lie), 1);
  return Buffer.concat([head, message]);
}

/** The material of calls. */
export interface Parts {
  readonly methods: readonly DescMethod[];
  /** Texts with a meaning for the services. */
  readonly samples: readonly string[];
  /** An existing stream. */
  readonly uid: string;
  /** A value that fits `tls`. */
  readonly tls: { readonly certificate: string; readonly key: string };
  /** Default fields that let a call get as far as possible. They follow uid and role. */
  readonly head: readonly Uint8Array[];
}

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
/** Content types of a message, and other headers. */
export const hostileHeaders = fc.record(
  {
    'content-type': fc.constantFrom(...TYPES),
    'grpc-encoding': fc.constantFrom('identity', 'gzip', 'br', '__proto__'),
    'content-encoding': fc.constantFrom('identity', 'gzip', 'constructor'),
    'grpc-timeout': fc.constantFrom('1S', '99999999H', '-1S', '1', '__proto__'),
    authorization: fc.stringMatching(/^[\x20-\x7e]{0,40}$/),
  },
  { requiredKeys: ['content-type'], noNullPrototype: true },
);

/** Text, so that it can contain a key twice, or `__proto__`. */
export const jsonOf = (entries: readonly (readonly [string, unknown])[]): string =>
  `{${entries.map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one) ?? 'null'}`).join()}}`;

/** Calls with fields of wrong or nearly right values. */
export function hostileCalls({ methods, samples, uid, tls, head }: Parts) {
  const text = hostileText(samples);
  /** A text, a list of texts, a number or anything: a value that fits the field, or nearly. */
  const value = fc.oneof(text, fc.array(text, { maxLength: 3 }), hostileValue, fc.integer(), fc.constant(tls));
  const anyMethod = fc.constantFrom(...methods);
  const changes = anyMethod.chain((method) => {
    const names = [...method.input.fields.map(({ localName }) => localName), '__proto__', 'constructor', 'uid', 'tls'];
    return fc.tuple(
      fc.constant(method),
      fc.array(fc.tuple(fc.constantFrom(...names), value), { minLength: 1, maxLength: 3 }),
    );
  });
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
  /** An encoded protobuf field, possibly of a wrong type or with an unknown number. */
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
        ...head,
        ...rest,
      ]);
      return cut === 0 ? bytes.subarray(0, -1) : bytes;
    });
  /** The length and flags of a gRPC frame, which may be wrong. */
  const framed = fc
    .tuple(fc.constantFrom(0, 1, 2, 0x80, 255), messages, fc.constantFrom(0, 0, 0, 1, -1, 5, 2 ** 31))
    .map(([flags, message, lie]) => frameOf(message, flags, lie));
  const bodies = fc.oneof(
    framed,
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(Buffer.alloc(0)),
  );
  return { anyMethod, changes, messages, framed, bodies };
}
