/** The audit log: entries, rotation, and rejection of actions that cannot be recorded. */
import 'reflect-metadata';
import { readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger, SciStreamError, type Authenticator } from '@scistream/core';
import { AuditedAuthenticator, AuditedPolicy, AuditLog, OwnerPolicy } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import { ALICE, answer, BOB, policyOf, request, STREAM, update } from '../support/policy.js';

const audit = suite('audit log');

/** Rejects every caller. */
const nobody: Authenticator = {
  id: 'nobody',
  authenticate: () => Promise.reject(new SciStreamError('SCI_UNAUTHENTICATED', 'Every caller is rejected.')),
};

audit('writes a line for each decision before it takes effect, to a file with mode 0600', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  await writeFile(file, '', { mode: 0o644 });
  const policy = new AuditedPolicy(
    await policyOf([{ name: 'r', who: { identities: ['token:alice'] } }]),
    new AuditLog({ file, size: 1e6, keep: 1 }),
  );
  await policy.check({ ...ALICE, peer: '192.0.2.7' }, request());
  await answer(policy.check(BOB, request({ encryption: 'none' })));
  await answer(policy.check(ALICE, update('10.0.0.1:1')));
  const lines = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    lines.map(({ who: by, action, decision, rule, uid, peer }) => [by, action, decision, rule, uid, peer]),
    [
      ['token:alice', 'request', 'allowed', 'r', STREAM.uid, '192.0.2.7'],
      ['token:bob', 'request', 'refused', undefined, STREAM.uid, undefined],
      ['token:alice', 'update', 'refused', 'r', STREAM.uid, undefined],
    ],
  );
  for (const { time } of lines) assert.ok(Number.isFinite(Date.parse(String(time))));
  assert.is((await stat(file)).mode & 0o777, 0o600);
  policy.close();
  await directory.remove();
});

audit('rotates files by size, keeps the configured number, and neither loses nor splits lines', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const log = new AuditLog({ file, size: 1_000, keep: 2 });
  for (let i = 0; i < 60; i += 1) log.append({ i, fill: 'x'.repeat(80) });
  log.close();
  const read = async (path: string): Promise<number[]> =>
    (await readFile(path, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { i: number }).i);
  const kept = [...(await read(`${file}.2`)), ...(await read(`${file}.1`)), ...(await read(file))];
  const [first = 0] = kept;
  assert.ok(kept.length > 20 && first > 0, 'three files of a thousand bytes are kept');
  assert.equal(
    kept,
    Array.from({ length: 60 - first }, (_, i) => first + i),
  );
  for (const path of [file, `${file}.1`, `${file}.2`]) {
    const { size, mode } = await stat(path);
    assert.ok(size <= 1_000);
    assert.is(mode & 0o777, 0o600);
  }
  assert.not.ok(await stat(`${file}.3`).catch(() => undefined));
  await directory.remove();
});

audit('combines entries that a caller can cause at will', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const log = new AuditLog({ file, size: 4_000, keep: 0 });
  const policy = new AuditedPolicy(new OwnerPolicy('required'), log);
  const strangers = new AuditedAuthenticator(nobody, log, silentLogger);
  const stream = { ...STREAM, owner: 'token:alice' };
  await policy.check(ALICE, { kind: 'release', stream });
  for (let i = 0; i < 500; i += 1) {
    await policy.check(ALICE, { kind: 'view', stream });
    await answer(policy.check(BOB, { kind: 'view', stream: { ...stream, uid: `guess-${i}` } }));
    await strangers.authenticate({ token: `${i}`, peer: '192.0.2.7' }).catch(() => undefined);
  }
  policy.close();
  const lines = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    lines.map(({ who = '', action, code = '', repeated = 0 }) => [who, action, code, repeated].join(' ')),
    [
      'token:alice release  0',
      'token:alice view  0',
      'token:bob view SCI_STREAM_NOT_FOUND 0',
      ' authenticate SCI_UNAUTHENTICATED 0',
      'token:alice view  499',
      'token:bob view SCI_STREAM_NOT_FOUND 499',
      ' authenticate SCI_UNAUTHENTICATED 499',
    ],
  );
  await directory.remove();
});

audit('rejects actions that cannot be recorded: full disk, missing directory', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  await symlink('/dev/full', file);
  const full = new AuditedPolicy(new OwnerPolicy('required'), new AuditLog({ file, size: 1_000, keep: 2 }));
  await full.load();
  assert.match(await answer(full.check(ALICE, request())), /^SCI_AUDIT_WRITE: .*ENOSPC/);
  assert.match(await answer(full.check(BOB, { kind: 'release', stream: STREAM })), /^SCI_AUDIT_WRITE/);
  full.close();
  await rm(file);
  const gone = new AuditedPolicy(
    new OwnerPolicy('required'),
    new AuditLog({ file: join(directory.path, 'none', 'a'), size: 1_000, keep: 0 }),
  );
  assert.match(await answer(gone.load().then(() => ({}))), /^SCI_AUDIT_WRITE: .*ENOENT/);
  await directory.remove();
});

audit.run();
