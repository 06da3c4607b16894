/** Stored state that was damaged on disk: the start rejects it with a code, and changes nothing outside. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { GatewayPool, GatewayStore, LevelStreamStore, StateDatabase } from '@scistream/core/internal';
import { temporaryDirectory, testRecord } from '@scistream/core/testing';
import { hostileText, hostileValue, hunt, refusalOfAsync } from './hunt.js';

const s = hunt('state');

const directory = await temporaryDirectory();
s.after(() => directory.remove());
const outside = join(directory.path, 'outside.json');
await writeFile(outside, 'untouched');
let made = 0;

/** A separate state directory. */
async function newState(): Promise<string> {
  const state = join(directory.path, String((made += 1)), 'state');
  await mkdir(state, { recursive: true });
  return state;
}

async function mustBeUntouched(state: string): Promise<void> {
  assert.is(await readFile(outside, 'utf8'), 'untouched');
  assert.equal(await readdir(join(state, '..')), ['state']);
}

const record = testRecord('6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10');
const UID = record.uid;
const keys = fc.oneof(
  fc.constant(UID),
  hostileText([UID, `${UID}!000000001`, '../../outside', '../outside']).filter((key) => key !== ''),
);
const records = fc.oneof(
  hostileValue,
  fc.tuple(fc.constantFrom(...Object.keys(record)), hostileValue).map(([key, value]) => ({ ...record, [key]: value })),
);
const stored = fc.tuple(
  keys,
  fc.oneof(
    hostileValue,
    records.map((one) => ({ order: 1, record: one })),
  ),
);
/** The database stores neither null nor undefined. */
const put = (table: string, key: string, value: unknown) => ({ type: 'put', table, key, value: value ?? 0 }) as const;

s(
  'stored records',
  fc.tuple(fc.constantFrom('streams', 'events', 'gateway'), stored),
  async ([table, [key, value]]) => {
    const state = await newState();
    const database = await StateDatabase.open(state);
    await database.write([put(table, key, value)]);
    await database.close();
    const streams = new LevelStreamStore(state);
    const opened = await refusalOfAsync(() => streams.open());
    if ('code' in opened) assert.is(opened.code, 'SCI_STATE_DAMAGED');
    else for (const { uid } of await streams.list()) assert.match(uid, /^[A-Za-z0-9-]{1,64}$/);
    await streams.close();
    const gateway = await refusalOfAsync(() => GatewayStore.open(state));
    if ('code' in gateway) assert.is(gateway.code, 'SCI_STATE_DAMAGED');
    else {
      for (const [uid] of gateway.value.entries()) assert.match(uid, /^[A-Za-z0-9-]{1,64}$/);
      await gateway.value.close();
    }
    await mustBeUntouched(state);
  },
);

const FILES = ['gateways.json', 'db/CURRENT', 'db/LOG', 'credentials/x.json', 'db/MANIFEST-000002'];

s(
  'files of the state',
  fc.tuple(fc.constantFrom(...FILES), hostileText(['{"drained":["dtn1"]}', 'MANIFEST-000002\n'])),
  async ([name, text]) => {
    const state = await newState();
    await (await GatewayStore.open(state)).close();
    await writeFile(join(state, name), text);
    const pool = await refusalOfAsync(() => new GatewayPool([], state).open([]));
    if ('code' in pool) assert.is(pool.code, 'SCI_STATE_DAMAGED');
    const gateway = await refusalOfAsync(() => GatewayStore.open(state));
    if ('code' in gateway) assert.is(gateway.code, 'SCI_STATE_DAMAGED');
    else await gateway.value.close();
    await mustBeUntouched(state);
  },
);

s.run();
