/** Directories, and atomic replacement of files. */
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeDirectory, systemCode, writeAtomically } from '@scistream/core';

const files = suite<{ directory: string }>('files');

files.before.each(async (context) => void (context.directory = await mkdtemp(join(tmpdir(), 'files-'))));
files.after.each(({ directory }) => rm(directory, { recursive: true }));

const isRoot = process.getuid?.() === 0;
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

files('directories with the same missing parents can be created at the same time', async ({ directory }) => {
  for (let round = 0; round < 50; round += 1) {
    const parent = join(directory, String(round), 'a', 'b');
    const names = Array.from({ length: 8 }, (_, i) => String(i));
    await Promise.all(names.map((name) => makeDirectory(join(parent, name))));
    assert.equal((await readdir(parent)).sort(), names);
  }
});

files('a file is private unless a mode is given, which does not depend on the umask', async ({ directory }) => {
  const path = join(directory, 'file');
  await writeAtomically(path, 'a');
  assert.is(await modeOf(path), 0o600);
  const umask = process.umask(0o077);
  await writeAtomically(path, 'b', { mode: 0o644 }).finally(() => process.umask(umask));
  assert.is(await modeOf(path), 0o644);
  assert.is(await readFile(path, 'utf8'), 'b');
});

files('the given owner gets the file', async ({ directory }) => {
  const path = join(directory, 'file');
  // Other users may only keep the file for themselves.
  const owner = isRoot ? { uid: 1234, gid: 2345 } : await stat(directory);
  await writeAtomically(path, 'a', { owner });
  const { uid, gid } = await stat(path);
  assert.equal({ uid, gid }, { uid: owner.uid, gid: owner.gid });
});

files('a symbolic link of that name is replaced and not followed', async ({ directory }) => {
  const victim = join(directory, 'victim');
  await writeFile(victim, 'old');
  await chmod(victim, 0o640);
  if (isRoot) await chown(victim, 11, 12);
  const before = await stat(victim);
  await symlink(victim, join(directory, 'file'));
  await writeAtomically(join(directory, 'file'), 'new', { mode: 0o644, owner: await stat(directory) });
  assert.is(await readFile(victim, 'utf8'), 'old');
  const after = await stat(victim);
  assert.equal([after.uid, after.gid, after.mode], [before.uid, before.gid, before.mode]);
});

files('a failure leaves nothing behind', async ({ directory }) => {
  await mkdir(join(directory, 'taken'));
  const error: unknown = await writeAtomically(join(directory, 'taken'), 'a').catch((thrown: unknown) => thrown);
  assert.is(systemCode(error), 'EISDIR');
  assert.equal(await readdir(directory), ['taken']);
});

files.run();
