/**
 * Properties that must hold for hostile input, checked with fast-check. Every run has the same cases. A longer search with
 * other cases: `SCISTREAM_FUZZ_RUNS=10` (ten times as many), `SCISTREAM_FUZZ_SEED=random` (or the number that a failure
 * printed). A failure prints its seed, its path and the smallest input that was found.
 */
import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type ErrorCode } from '@scistream/core';
import { ERROR_CODES } from '@scistream/core/internal';

/** Number of cases of each property in `npm test`: at least 100 000 in total. */
export const CASES = {
  'address: text': 12_000,
  'address: there and back': 6_000,
  'address: spellings': 4_000,
  'rate, duration, ports': 12_000,
  'network, host pattern': 12_000,
  'uid, role, name': 8_000,
  'texts in messages': 8_000,
  'ticket: text': 10_000,
  'ticket: content': 6_000,
  'ticket: there and back': 1_500,
  'frame: bytes': 13_000,
  'frame: damaged': 13_000,
  'configuration: every key': 600,
  'configuration: text': 150,
  'policy: every key': 400,
  'template: haproxy': 1_000,
  'template: nginx': 1_000,
  'template: stunnel': 1_000,
  'credentials of a stream': 800,
  'manifest of a plugin': 2_000,
  'stored records': 60,
  'files of the state': 60,
  'call: fields as JSON': 400,
  'call: fields as protobuf': 300,
  'call: bytes': 300,
  watch: 1_000,
  'data server: fields as JSON': 1_000,
  'data server: fields as protobuf': 1_000,
  'data server: bytes': 1_000,
} as const;

const FACTOR = Number(process.env.SCISTREAM_FUZZ_RUNS ?? 1);
const SEED_TEXT = process.env.SCISTREAM_FUZZ_SEED ?? '2026';
const SEED = SEED_TEXT === 'random' ? randomInt(2 ** 31) : Number(SEED_TEXT);

/** The properties that every object inherits, to detect polluted prototypes. */
const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, String.prototype] as const;
const inherited = (): string => PROTOTYPES.map((one) => Reflect.ownKeys(one).map(String).join()).join('|');

/** The properties of a file as a suite of uvu. Its last test checks that no prototype was changed. */
export interface Hunt {
  /** Searches an input for which `holds` throws. */
  <T>(name: keyof typeof CASES, inputs: fc.Arbitrary<T>, holds: (input: T) => void | Promise<void>): void;
  /** An ordinary test. */
  test(title: string, test: () => void | Promise<void>): void;
  /** Runs at the end. */
  after(task: () => Promise<void>): void;
  run(): void;
}

export function hunt(title: string): Hunt {
  const s = suite(title);
  const before = inherited();
  const look = <T>(
    name: keyof typeof CASES,
    inputs: fc.Arbitrary<T>,
    holds: (input: T) => void | Promise<void>,
  ): void =>
    s(name, () =>
      fc.assert(
        fc.asyncProperty(inputs, async (input) => holds(input)),
        { numRuns: Math.ceil(CASES[name] * FACTOR), seed: SEED, includeErrorInReport: true },
      ),
    );
  return Object.assign(look, {
    test: (name: string, test: () => void | Promise<void>): void => s(name, test),
    after: (task: () => Promise<void>): void => s.after(task),
    run: (): void => {
      s('no prototype was changed', () => assert.is(inherited(), before));
      s.run();
    },
  });
}

/** Characters that must not appear in a message: they would control a terminal or break a log line. */
const UNPRINTABLE = /(?!\n)[\p{Cc}\p{Cf}\u2028\u2029]/u;

/**
 * The result of a function, or the code of its error. The code must be in the table and not be an internal error, and the
 * message must be printable.
 */
export function refusalOf<T>(call: () => T): { readonly value: T } | { readonly code: ErrorCode } {
  try {
    return { value: call() };
  } catch (error) {
    return { code: refused(error) };
  }
}

/** As {@link refusalOf}. */
export async function refusalOfAsync<T>(
  call: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly code: ErrorCode }> {
  try {
    return { value: await call() };
  } catch (error) {
    return { code: refused(error) };
  }
}

function refused(error: unknown): ErrorCode {
  if (!SciStreamError.is(error)) throw error;
  assert.ok(Object.hasOwn(ERROR_CODES, error.code), error.code);
  assert.is.not(error.code, 'SCI_BUG', error.message);
  for (const text of [error.message, ...error.suggestions]) {
    assert.not.match(text, UNPRINTABLE, JSON.stringify(text));
    assert.ok(text.length < 20_000, `${text.length} characters`);
  }
  return error.code;
}

/** Texts that are known to break programs. */
export const EVIL: readonly string[] = [
  '',
  ' ',
  '\0',
  '\n',
  '\r\n',
  '\t',
  '..',
  '../../../etc/passwd',
  '/etc/passwd',
  '..\\..\\x',
  '%2e%2e%2f',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '%s%n%d',
  '$(id)',
  '`id`',
  '${7*7}',
  '{{ 7*7 }}',
  '{% include "/etc/passwd" %}',
  ';daemon on;',
  '\nserver s9 198.51.100.66:66',
  '\n[evil]\naccept = 1',
  '#',
  '"',
  "'",
  '\\',
  '\u202e',
  '\u2028',
  '\u0085',
  '\u009b31m',
  '\u001b[31m',
  '\ufeff',
  '\u200b',
  '\ud800',
  'ß',
  'K', // KELVIN SIGN, which is "k" when case is ignored
  'ſ', // LONG S
  '٣',
  '𝟙',
  'a'.repeat(300),
  '1e999',
  '-0',
  '-1',
  '0',
  '00',
  '0x10',
  '1_000',
  '9'.repeat(40),
  'NaN',
  'Infinity',
  'null',
  'true',
  '::1',
  '[::1]',
  '::ffff:127.0.0.1',
  'fe80::1%eth0',
  '0.0.0.0',
  '127.1',
  '*',
  '*:*',
];

const piece = fc.oneof(fc.constantFrom(...EVIL), fc.string({ unit: 'binary', maxLength: 12 }));

/** A text similar to one of these: with an insertion, a deletion, a repetition or another letter case. */
export function nearly(samples: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...samples), fc.nat(400), fc.nat(8), piece, fc.nat(4))
    .map(([sample, at, length, put, kind]) => {
      const from = sample.length === 0 ? 0 : at % (sample.length + 1);
      if (kind === 0) return sample;
      if (kind === 1) return sample.toUpperCase();
      if (kind === 2) return sample + sample.slice(from);
      return sample.slice(0, from) + put + sample.slice(kind === 3 ? from : from + length);
    });
}

/** Any text, bad ones more often. */
export const hostileText = (samples: readonly string[] = ['a']): fc.Arbitrary<string> =>
  fc.oneof(
    { arbitrary: nearly(samples), weight: 4 },
    { arbitrary: fc.constantFrom(...EVIL), weight: 2 },
    { arbitrary: fc.string({ unit: 'binary', maxLength: 80 }), weight: 1 },
    { arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 400 }), weight: 1 },
  );

/** Own properties that an assignment cannot create. */
const pollution = fc
  .constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'length', 'then')
  .map((key) => JSON.parse(`{"${key}":{"polluted":true,"prototype":{"polluted":true}}}`) as unknown);

/** Nested so deeply that recursive code might overflow the stack. */
const deep = fc.integer({ min: 2, max: 300 }).map((depth) => {
  let value: unknown = 'x';
  for (let i = 0; i < depth; i += 1) value = i % 2 ? [value] : { a: value };
  return value;
});

/** Any value of a document, wrong types more often. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: hostileText(['10.0.0.1:5000', '20Gbps', '8h', '5100-5200', 'relay', 'unix:/run/x']), weight: 4 },
  {
    arbitrary: fc.constantFrom(0, -0, -1, 1.5, 2 ** 31, 2 ** 53, 1e308, Infinity, -Infinity, NaN, true, false, null),
    weight: 3,
  },
  { arbitrary: pollution, weight: 2 },
  { arbitrary: fc.constantFrom([], {}, [[]], [{}], [null], new Array(100).fill('x')), weight: 2 },
  { arbitrary: fc.jsonValue({ maxDepth: 3 }), weight: 2 },
  { arbitrary: deep, weight: 1 },
);
