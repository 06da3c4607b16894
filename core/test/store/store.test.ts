import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClassicLevel } from 'classic-level';
import { expectCode, storeContract, temporaryDirectory, testRecord } from '@scistream/core/testing';
import { LevelStreamStore, MemoryStreamStore } from '@scistream/core/internal';

const s = suite('stream stores');

storeContract({ name: 'memory', test: s, open: async () => ({ store: new MemoryStreamStore() }) });

const directories: (() => Promise<void>)[] = [];
s.after(async () => {
  for (const remove of directories) await remove();
});

async function stateDirectory(): Promise<string> {
  const directory = await temporaryDirectory();
  directories.push(() => directory.remove());
  return directory.path;
}

async function openStore(path: string): Promise<LevelStreamStore> {
  const store = new LevelStreamStore(path);
  await store.open();
  return store;
}

storeContract({
  name: 'level',
  test: s,
  open: async () => {
    const path = await stateDirectory();
    return { store: await openStore(path), again: () => openStore(path) };
  },
});

s('rejects a second process while the state is open', async () => {
  const path = await stateDirectory();
  const store = await openStore(path);
  await expectCode('SCI_STATE_LOCKED', openStore(path));
  await store.close();
  await (await openStore(path)).close();
});

s('rejects a damaged or newer state and leaves it unchanged', async () => {
  const damaged = await stateDirectory();
  await (await openStore(damaged)).close();
  await writeFile(join(damaged, 'db', 'CURRENT'), 'rubbish\n');
  await expectCode('SCI_STATE_DAMAGED', openStore(damaged));
  await rm(join(damaged, 'db'), { recursive: true });
  await (await openStore(damaged)).close();

  const newer = await stateDirectory();
  await (await openStore(newer)).close();
  const level = new ClassicLevel<string, unknown>(join(newer, 'db'), { valueEncoding: 'json' });
  await level.put('schema', 999);
  await level.close();
  await expectCode('SCI_STATE_NEWER', openStore(newer));
});

/** A record must survive a kill immediately after the answer. */
s('a record is on disk when create returns', async () => {
  const path = await stateDirectory();
  const server = import.meta.resolve('@scistream/core/internal');
  const script = `
    import { LevelStreamStore } from '${server}';
    const store = new LevelStreamStore(process.argv[1]);
    await store.open();
    await store.create(JSON.parse(process.argv[2]));
    process.kill(process.pid, 'SIGKILL');`;
  const args = ['--input-type=module', '-e', script, path, JSON.stringify(testRecord('survivor'))];
  await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit');
  const store = await openStore(path);
  assert.equal(await store.get('survivor'), testRecord('survivor'));
  await store.close();
});

s('further addresses of a target are kept, and damaged ones are found', async () => {
  const path = await stateDirectory();
  const targets = [{ host: '10.0.0.1', port: 1, fallbacks: ['10.0.0.2', '::1'] }];
  const store = await openStore(path);
  await store.create({ ...testRecord('several'), targets });
  await store.close();
  const again = await openStore(path);
  assert.equal((await again.get('several'))?.targets, targets);
  await again.create({ ...testRecord('damaged'), targets: [{ host: '10.0.0.1', port: 1, fallbacks: ['a.name'] }] });
  await again.close();
  await expectCode('SCI_STATE_DAMAGED', openStore(path));
});

s.run();
