/** A state directory that the version with layout 1 wrote, with `kill -9` while two streams were active and one released. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayStore, LevelStreamStore, MIGRATIONS } from '@scistream/core/internal';
import { temporaryDirectory, testCredentials } from '@scistream/core/testing';

const FIXTURE = fileURLToPath(new URL('../../../../core/test/fixtures/state-layout-1/', import.meta.url));
const PLAIN = '1e74d64a-39ab-43a7-9b82-3905b02669b2';
const SECURE = 'f28b2a0c-29d1-4fd7-b0c8-f89983772cd2';
const DAY_MS = 86_400_000;

const s = suite('state of layout 1');

/** A copy of the fixture. Its credentials are made here, because no key belongs in a repository. */
async function earlierState() {
  const directory = await temporaryDirectory();
  await cp(FIXTURE, directory.path, { recursive: true });
  const tls = (await testCredentials()).inbound;
  const credentials = join(directory.path, 'gateway', 'credentials');
  await mkdir(credentials, { mode: 0o700 });
  await writeFile(join(credentials, `${SECURE}.json`), JSON.stringify(tls), { mode: 0o600 });
  return { path: directory.path, tls, [Symbol.asyncDispose]: () => directory.remove() };
}

s('the control server reads its streams and their events, and writes the new layout', async () => {
  await using state = await earlierState();
  for (const time of ['first', 'second'] as const) {
    const store = new LevelStreamStore(state.path);
    await store.open();
    const records = await store.list();
    assert.equal(
      records.map(({ spec, state: now }) => `${spec.name} ${now}`),
      ['plain active', 'secure active', 'over released'],
      time,
    );
    const plain = await store.get(PLAIN);
    assert.equal(plain?.spec, {
      name: 'plain',
      role: 'inbound',
      transport: 'tcp',
      connections: 2,
      bitsPerSecond: 1e9,
      lifetimeMs: DAY_MS,
      encryption: 'none',
      gateway: '',
      proxy: 'relay',
      runtime: 'process',
      movable: true,
    });
    assert.equal(
      Object.keys(plain ?? {}).filter((key) => key in (plain?.spec ?? {})),
      ['gateway', 'proxy', 'runtime'],
    );
    assert.equal(
      (await store.events(PLAIN)).map(({ what }) => what),
      ['requested', 'reserved', 'hello', 'targets'],
    );
    await store.close();
  }
});

s('the gateway reads its streams with their credentials', async () => {
  await using state = await earlierState();
  for (const time of ['first', 'second'] as const) {
    const store = await GatewayStore.open(join(state.path, 'gateway'));
    assert.equal(
      store
        .entries()
        .map(([uid]) => uid)
        .sort(),
      [PLAIN, SECURE].sort(),
      time,
    );
    assert.is(store.get(PLAIN)?.tls, undefined);
    assert.equal(store.get(SECURE)?.tls, state.tls);
    assert.equal(store.get(SECURE)?.spec, {
      name: '',
      role: 'inbound',
      transport: 'tcp',
      connections: 1,
      bitsPerSecond: 0,
      lifetimeMs: 0,
      encryption: 'tls',
      gateway: '',
      proxy: '',
      runtime: '',
    });
    assert.is(store.get(PLAIN)?.state, 'running');
    await store.close();
  }
});

s('an event gets its present name', () => {
  const event = { at: '2026-11-01T00:00:00.000Z', what: 'adopted', detail: 'after a restart of the control server' };
  assert.equal(MIGRATIONS.events?.(event), { ...event, what: 'recovered' });
  assert.equal(MIGRATIONS.events?.({ ...event, what: 'hello' }), { ...event, what: 'hello' });
});

s.run();
