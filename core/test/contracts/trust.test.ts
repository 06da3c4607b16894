/** Files and directories that other users could change or read are not used. */
import 'reflect-metadata';
import { chmod, chown, lchown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeDirectory, weaknessOf } from '@scistream/core';
import type { Protection } from '@scistream/core/internal';
import { loadConfig, readDocument } from '@scistream/core/config';
import { AuditLog, lockState, readKeyPair, readRules, selfSigned } from '@scistream/core/internal';
import { expectCode } from '@scistream/core/testing';

const STRANGER = 12_345;
const isRoot = process.getuid?.() === 0;

const s = suite<{ work: { readonly path: string }; file: string }>('trust in files');

s.before.each(async (context) => {
  // Every user can enter /tmp, unlike the temporary directory of a test.
  context.work = { path: await mkdtemp('/tmp/scistream-trust-') };
  context.file = join(context.work.path, 'file');
  await writeFile(context.file, 'rules: []\n', { mode: 0o600 });
});
s.after.each(({ work }) => rm(work.path, { recursive: true, force: true }));

const isWeak = (path: string, protection?: Protection): boolean => weaknessOf(path, protection) !== undefined;

s('a file that others can write, or in a directory that others can write, is weak', async ({ work, file }) => {
  assert.not(isWeak(file));
  for (const mode of [0o602, 0o666]) {
    await chmod(file, mode);
    assert.ok(isWeak(file), mode.toString(8));
  }
  await chmod(file, 0o644);
  assert.not(isWeak(file), 'others may read what is not secret');
  await chmod(work.path, 0o777);
  assert.ok(isWeak(file));
  assert.ok(isWeak(join(work.path, 'new')), 'a file that does not exist yet');
  assert.ok(isWeak(join(work.path, 'a/b/new')), 'with its directories');
  await mkdir(join(work.path, 'private'), { mode: 0o700 });
  assert.ok(isWeak(join(work.path, 'private', 'file')), 'anybody can replace the directory');
  await chmod(work.path, 0o1777);
  assert.not(isWeak(file), 'a directory like /tmp');
});

s('a file, link or directory of another user is weak', async ({ work, file }) => {
  if (!isRoot) return;
  const link = join(work.path, 'link');
  await symlink(file, link);
  assert.not(isWeak(link));
  await lchown(link, STRANGER, STRANGER);
  assert.ok(isWeak(link));
  await chown(file, STRANGER, STRANGER);
  assert.ok(isWeak(file));
  assert.not(isWeak(file, { anyOwner: true }));
  await chown(file, 0, 0);
  await chown(work.path, STRANGER, STRANGER);
  assert.ok(isWeak(file));
  await chown(work.path, 0, 0);
  await chmod(file, 0o660);
  assert.not(isWeak(file), 'the private group of its owner');
  await chown(file, 0, STRANGER);
  assert.ok(isWeak(file), 'another group');
});

s('a link is as weak as its target, and one that leads nowhere is harmless', async ({ work, file }) => {
  const link = join(work.path, 'link');
  await symlink('file', link);
  assert.not(isWeak(link));
  await chmod(file, 0o666);
  assert.ok(isWeak(link));
  await rm(file);
  await symlink('link', file);
  assert.not(isWeak(link), 'a link to itself cannot be opened');
});

s('a secret is weak if others can read it', async ({ work, file }) => {
  assert.not(isWeak(file, { secret: 'user' }));
  await chmod(file, 0o640);
  assert.ok(isWeak(file, { secret: 'user' }));
  assert.not(isWeak(file, { secret: 'group' }));
  await chmod(file, 0o644);
  assert.not(isWeak(file, { secret: 'group' }), 'the directory lets nobody in');
  await chmod(work.path, 0o755);
  assert.ok(isWeak(file, { secret: 'group' }));
});

s('devices, descriptors and files of the kernel have no weakness', () => {
  for (const path of ['/dev/null', '/dev/full', '/dev/stderr', '/dev/fd/0', '/proc/self/status'])
    assert.not(isWeak(path), path);
});

s('a directory that somebody else has made is used by nothing', async ({ work }) => {
  const hostile = join(work.path, 'hostile');
  await mkdir(join(hostile, 'tls'), { recursive: true });
  const precious = join(work.path, 'precious');
  await writeFile(precious, 'precious', { mode: 0o600 });
  for (const name of ['lock', 'audit', 'tls/server.crt', 'tls/server.key'])
    await symlink(precious, join(hostile, name));
  await chmod(hostile, 0o777);
  const tries = async (): Promise<void> => {
    await expectCode('SCI_FILE_UNTRUSTED', makeDirectory(hostile));
    await expectCode('SCI_FILE_UNTRUSTED', makeDirectory(join(hostile, 'new')));
    await expectCode('SCI_FILE_UNTRUSTED', lockState(hostile));
    await expectCode('SCI_FILE_UNTRUSTED', selfSigned(join(hostile, 'tls'), []));
    const audit = new AuditLog({ file: join(hostile, 'audit'), size: 1000, keep: 1 });
    await expectCode(
      'SCI_FILE_UNTRUSTED',
      Promise.resolve().then(() => audit.open()),
    );
    assert.is(await readFile(precious, 'utf8'), 'precious');
  };
  await tries();
  if (!isRoot) return;
  await chmod(hostile, 0o755);
  for (const path of [hostile, join(hostile, 'tls')]) await chown(path, STRANGER, STRANGER);
  await tries();
});

s('configurations and policies that others can change are refused, also if they are named', async ({ work, file }) => {
  await chmod(file, 0o666);
  await expectCode('SCI_FILE_UNTRUSTED', readDocument(file));
  await expectCode('SCI_FILE_UNTRUSTED', readRules(file));
  const config = join(work.path, 's2cs.conf');
  await writeFile(config, 'facility: aps\n', { mode: 0o600 });
  assert.is((await loadConfig('s2cs', { file: config })).config.facility, 'aps');
  await chmod(config, 0o622);
  await expectCode('SCI_FILE_UNTRUSTED', loadConfig('s2cs', { file: config }));
  if (!isRoot) return;
  await chmod(config, 0o644);
  await chown(config, STRANGER, STRANGER);
  await expectCode('SCI_FILE_UNTRUSTED', loadConfig('s2cs', { file: config }));
});

s('keys that others can read are refused', async ({ work }) => {
  await selfSigned(work.path, []);
  const files = { cert: join(work.path, 'server.crt'), key: join(work.path, 'server.key') };
  await readKeyPair(files);
  await chmod(work.path, 0o755);
  await chmod(files.key, 0o640);
  await readKeyPair(files);
  await expectCode('SCI_FILE_UNTRUSTED', selfSigned(work.path, []));
  await chmod(files.key, 0o644);
  await expectCode('SCI_FILE_UNTRUSTED', readKeyPair(files));
});

s.run();
