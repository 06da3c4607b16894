/** Configuration files and policies: every file is either read exactly or rejected with its mistake. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { loadConfig, loadStream, toJsonSchema, type ConfigKind } from '@scistream/core/config';
import { readRules, RULED_ACTIONS } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { hostileValue, hunt, nearly, refusalOfAsync } from './hunt.js';

const s = hunt('configuration');

const directory = await temporaryDirectory();
s.after(() => directory.remove());
const file = join(directory.path, 'hostile.yaml');

type Path = readonly (string | number)[];
type Document = Readonly<Record<string, unknown>>;

/** Nearly complete documents of each kind. */
const WHOLE: Readonly<Record<ConfigKind, Document>> = {
  s2cs: {
    facility: 'aps',
    listen: '127.0.0.1:5000',
    tls: { cert: 'a.pem', key: 'b.pem' },
    insecure: false,
    state: 'state',
    auth: [{ use: 'none' }],
    limits: { streams: 10, helloTimeout: '180s' },
    gateways: [{ name: 'dtn1', s2ds: 'embedded', capacity: '10Gbps', labels: ['a'] }],
    proxies: { relay: { processes: 1 } },
    runtimes: { process: {} },
    plugins: ['x'],
    policy: 'rules.yaml',
    audit: { file: 'audit.log' },
  },
  s2ds: { name: 'dtn1', listen: 'unix:/tmp/x.sock', proxies: { relay: {} } },
  s2uc: {
    facilities: { aps: { s2cs: '10.0.0.1:5000', token: { file: 'token' } } },
    streams: { tomo: { from: 'aps', to: 'alcf', producer: ['10.0.0.5:5001'], rate: '20Gbps', lifetime: '8h' } },
  },
};
const RULES = {
  rules: [
    {
      name: 'r',
      who: { identities: ['token:alice'], groups: ['beam'], issuers: ['token'] },
      actions: [...RULED_ACTIONS],
      roles: ['inbound', 'CONS'],
      proxies: ['relay'],
      runtimes: ['process'],
      gateways: ['dtn1'],
      encryption: ['tls'],
      targets: { networks: ['10.0.0.0/8'], names: ['*.example.org'], ports: ['5000-6000'] },
      limits: { connections: 4, bandwidth: '1Gbps', totalBandwidth: '2Gbps', lifetime: '8h', streams: 3 },
    },
  ],
};

interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
}

/** Every key in the schema of a document. */
function pathsOf(shape: Shape, at: Path = []): Path[] {
  const { properties = {}, additionalProperties: other, items, anyOf = [] } = shape;
  return [
    ...(at.length > 0 ? [at] : []),
    ...Object.entries(properties).flatMap(([key, below]) => pathsOf(below, [...at, key])),
    ...(typeof other === 'object' ? pathsOf(other, [...at, 'aps']) : []),
    ...(items ? pathsOf(items, [...at, 0]) : []),
    ...anyOf.flatMap((one) => pathsOf(one, at).slice(1)),
  ];
}

/** Every existing path of a document. */
const placesOf = (value: unknown, at: Path = []): Path[] => [
  ...(at.length > 0 ? [at] : []),
  ...(typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([key, below]) =>
        placesOf(below, [...at, Array.isArray(value) ? Number(key) : key]),
      )
    : []),
];

/** A document with one replaced value, as JSON: an object cannot have a key twice, or `__proto__`. */
function written(value: unknown, [key, ...rest]: Path, put: unknown): string {
  if (key === undefined) return JSON.stringify(put) ?? 'null';
  if (typeof key === 'number') {
    const items: readonly unknown[] = Array.isArray(value) ? value : [];
    return `[${[written(items[key], rest, put), ...items.slice(key + 1).map((one) => JSON.stringify(one))].join()}]`;
  }
  const fields = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  const others = fields
    .filter(([name]) => name !== key)
    .map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one)}`);
  const own = fields.find(([name]) => name === key)?.[1] as unknown;
  return `{${[...others, `${JSON.stringify(key)}:${written(own, rest, put)}`].join()}}`;
}

/** Checks that no value has a foreign prototype, and that every number is finite. */
function mustBePlain(value: unknown, at = ''): void {
  if (typeof value === 'number') assert.ok(Number.isFinite(value), `${at} is ${value}`);
  if (typeof value !== 'object' || value === null) return;
  const prototype: unknown = Object.getPrototypeOf(value);
  assert.ok(prototype === null || prototype === Object.prototype || prototype === Array.prototype, at);
  assert.is(Reflect.get(value, 'polluted'), undefined, at);
  for (const [key, below] of Object.entries(value)) {
    if (at !== '.proxies' && at !== '.runtimes' && at !== '.auth') mustBePlain(below, `${at}.${key}`);
  }
}

const kinds = Object.keys(WHOLE) as ConfigKind[];
const PLACES = kinds.flatMap((kind) =>
  [
    ...new Map(
      [...pathsOf(toJsonSchema(kind) as Shape), ...placesOf(WHOLE[kind])].map((path) => [path.join(), path]),
    ).values(),
  ].map((path) => ({ kind, path })),
);
/** An existing key, or a new unknown one beside it. */
const EXTRA = fc.option(fc.constantFrom('__proto__', 'constructor', 'toString', 'limitz', 'a b\n\u009b2J', ''), {
  freq: 3,
});

const load = async (kind: ConfigKind, text: string): Promise<void> => {
  await writeFile(file, text);
  const result = await refusalOfAsync(() => loadConfig(kind, { file, env: {} }));
  if ('value' in result) mustBePlain(result.value.config);
};

s.test('every key of every schema is tried', () => {
  const keys = PLACES.map(({ kind, path }) => `${kind}.${path.join('.')}`);
  for (const key of ['s2cs.gateways.0.capacity', 's2cs.audit.keep', 's2ds.ports', 's2uc.facilities.aps.token.env']) {
    assert.ok(keys.includes(key), key);
  }
  assert.ok(keys.length > 60, `${keys.length} keys`);
});

s(
  'configuration: every key',
  fc.tuple(fc.constantFrom(...PLACES), EXTRA, hostileValue),
  ([{ kind, path }, extra, value]) =>
    load(kind, written(WHOLE[kind], extra === null ? path : [...path.slice(0, -1), extra], value)),
);

const YAML = [
  ...kinds.map((kind) => JSON.stringify(WHOLE[kind], null, 1)),
  'facility: aps\ngateways:\n  - name: a\n    wan: 10.0.0.1\n',
  'a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nfacility: *c\n',
  'facility: !!js/function "function(){}"\n? [complex]\n: key\n',
  '--- \nfacility: a\n--- \nfacility: b\n',
  'state: !!binary aGVsbG8=\nlisten: !!timestamp 2026-01-01\n<<: {facility: x}\n',
];

s('configuration: text', fc.tuple(fc.constantFrom(...kinds), nearly(YAML)), async ([kind, text]) => {
  await load(kind, text);
  const result = await refusalOfAsync(() => loadStream(file));
  if ('value' in result) mustBePlain(result.value);
});

s.test('references that multiply are refused', async () => {
  const lines = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}, *a${i}]`);
  await writeFile(file, `a0: &a0 x\n${lines.join('\n')}\nfacility: *a30\n`);
  const result = await refusalOfAsync(() => loadConfig('s2cs', { file, env: {} }));
  assert.is('code' in result && result.code, 'SCI_CONFIG_SYNTAX');
});

const RULE_PLACES = placesOf(RULES);

s('policy: every key', fc.tuple(fc.constantFrom(...RULE_PLACES), EXTRA, hostileValue), async ([path, extra, value]) => {
  await writeFile(file, written(RULES, extra === null ? path : [...path.slice(0, -1), extra], value));
  const result = await refusalOfAsync(() => readRules(file));
  if ('value' in result) mustBePlain(result.value);
});

s.run();
