// needs: root
// suite: full
/** What a control server can still do when no write succeeds: release streams. */
import { execFileSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectError } from '@connectrpc/connect';
import * as assert from 'uvu/assert';
import { systemCode } from '@scistream/core';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('full disk');

/** A disk of 32 MB with a state directory on it. */
async function disk() {
  const directory = await temporaryDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m,mode=700', 'scistream', directory.path]);
  const filler = (i: number): string => join(directory.path, `filler${i}`);
  let files = 0;
  return {
    state: directory.path,
    /** Also takes the space that becomes free. */
    fill: async (): Promise<void> => {
      for (let size = 1 << 22; size >= 1; size >>= 2) {
        for (;;) {
          const full = await writeFile(filler((files += 1)), Buffer.alloc(size)).catch(systemCode);
          if (full === 'ENOSPC') break;
          assert.is(full, undefined);
        }
      }
    },
    empty: async (): Promise<void> => {
      for (; files > 0; files -= 1) await rm(filler(files), { force: true });
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      execFileSync('umount', ['--lazy', directory.path]);
      await directory.remove();
    },
  };
}

/** The database has some room left in its last block. */
async function untilNothingIsWritten({ peer }: TestServer, uid: string): Promise<void> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    const change = peer.control.update({ uid, remoteListeners: ['127.0.0.1:9'] });
    const code = await change.then(
      () => undefined,
      (error: unknown) => (error instanceof ConnectError ? error.metadata.get('scistream-code') : String(error)),
    );
    if (code === 'SCI_STATE_WRITE') return;
  }
  assert.unreachable('the disk is not full');
}

s('streams can be released on a full disk, and stay released after a restart with free space', async () => {
  await using here = await disk();
  const range = await freeRange(8);
  const first = await TestServer.start({ state: here.state, range });
  const [one, two, three] = [await first.setUp(), await first.setUp(), await first.setUp()];
  await here.fill();
  await untilNothingIsWritten(first, three.uid);
  for (const { uid } of [one, two]) {
    await first.peer.control.release({ uid });
    assert.is((await first.peer.streams.get({ uid })).state, 'released');
    await here.fill();
  }
  const { processes, listening } = await first.leftovers();
  assert.equal([processes.length, listening.length], [1, 1]);
  await here.empty();
  // Pending writes are stored now.
  await eventually(async () => void (await first.setUp()), 60_000);
  await first.server.stop();
  first.peer.cut();

  await using second = await TestServer.start({ state: here.state, range });
  for (const { uid } of [one, two]) assert.is((await second.peer.streams.get({ uid })).state, 'released');
  const { streams } = await second.peer.streams.list({});
  assert.is(streams.length, 2);
  for (const { uid } of streams) await second.peer.control.release({ uid });
  assert.is((await second.peer.streams.get({ uid: three.uid })).state, 'released');
  assert.equal(await second.leftovers(), NOTHING);
});

s.run();
