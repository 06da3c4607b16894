// needs: root
/** What a gateway leaves of a stream whose record does not fit on the disk. */
import 'reflect-metadata';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { systemCode } from '@scistream/core';
import { GatewayStore, type GatewayStream } from '@scistream/core/internal';
import { expectCode, temporaryDirectory } from '@scistream/core/testing';
import { SPEC } from '../support/gateway-site.js';

const s = suite('gateway on a full disk');

/** Writes until nothing fits. */
async function fill(file: string): Promise<void> {
  for (let size = 1 << 16; size >= 1; size >>= 1) {
    while ((await writeFile(file, Buffer.alloc(size), { flag: 'a' }).catch(systemCode)) !== 'ENOSPC');
  }
}

s('the credentials do not stay when the record cannot be written', async () => {
  const directory = await temporaryDirectory();
  const database = join(directory.path, 'db');
  await mkdir(database);
  // The database alone is on the full disk, so that the credentials can be written.
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'scistream', database]);
  try {
    const store = await GatewayStore.open(directory.path);
    const filler = join(database, 'filler');
    await fill(filler);
    const tls = { certificate: 'C'.repeat(4096), key: 'K', ca: 'A', peer: 'p' };
    const stream: GatewayStream = {
      spec: { ...SPEC, name: 'n'.repeat(100_000), encryption: 'tls' },
      tls,
      proxy: 'relay',
      runtime: 'process',
      listeners: [],
      state: 'reserved',
      targets: [],
    };
    const uid = randomUUID();
    await expectCode('SCI_STATE_WRITE', store.put(uid, stream));
    const credentials = join(directory.path, 'credentials');
    assert.equal(await readdir(credentials), []);
    await rm(filler);
    await store.put(uid, stream);
    assert.equal(await readdir(credentials), [`${uid}.json`]);
    await store.close();
  } finally {
    execFileSync('umount', ['--lazy', database]);
    await directory.remove();
  }
});

s('a database that does not fit on the disk is not reported as damaged', async () => {
  const directory = await temporaryDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'scistream', directory.path]);
  try {
    await fill(join(directory.path, 'filler'));
    await expectCode('SCI_STATE_WRITE', GatewayStore.open(directory.path));
    await rm(join(directory.path, 'filler'));
    await (await GatewayStore.open(directory.path)).close();
  } finally {
    execFileSync('umount', ['--lazy', directory.path]);
    await directory.remove();
  }
});

s.run();
