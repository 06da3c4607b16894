/** The audit log: entries, rotation, and rejection of actions that cannot be recorded. */
import 'reflect-metadata';
import { readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
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

audit('limits the refusals of one source and of all, and writes their number', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const log = new AuditLog({ file, size: 1e7, keep: 0 });
  const strangers = new AuditedAuthenticator(nobody, log, silentLogger);
  // One host with many addresses: one line.
  for (let i = 1; i <= 500; i += 1)
    await strangers.authenticate({ token: '', peer: `2001:db8::${i.toString(16)}` }).catch(() => undefined);
  assert.is((await readFile(file, 'utf8')).trim().split('\n').length, 1);
  // A network with many hosts.
  for (let i = 1; i <= 12_000; i += 1)
    await strangers.authenticate({ token: '', peer: `2001:db8:${i.toString(16)}::1` }).catch(() => undefined);
  const policy = new AuditedPolicy(new OwnerPolicy('required'), log);
  const stream = { ...STREAM, owner: 'token:alice' };
  await policy.check(ALICE, { kind: 'release', stream });
  policy.close();
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  assert.ok(lines.length > 600 && lines.length < 640, `${lines.length} lines`);
  const told = lines.map((line) => JSON.parse(line) as Record<string, number>);
  const refused = told.filter(({ decision }) => String(decision) === 'refused');
  const counted = refused.reduce((sum, { repeated = 1 }) => sum + repeated, 0);
  const suppressed = told.reduce((sum, { suppressed: count = 0 }) => sum + count, 0);
  assert.is(counted + suppressed, 12_500, 'none is lost');
  assert.ok(lines.some((line) => line.includes('"action":"release"') && line.includes('"allowed"')));
  await directory.remove();
});

audit('rotates by time, deletes no file before its minimum age, and then counts refusals only', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const day = 86_400_000;
  const settings = { file, size: 2_000, keep: 1, rotateMs: 7 * day, minAgeMs: 14 * day };
  const lineOf = async (name: string): Promise<string> => await readFile(name, 'utf8').catch(() => '');
  await writeFile(file, `{"time":"${new Date(Date.now() - 8 * day).toISOString()}","n":1}\n`);
  const errors: object[] = [];
  const log = new AuditLog(settings, { ...silentLogger, error: (fields: object) => void errors.push(fields) });
  log.append({ time: new Date().toISOString(), n: 2 });
  assert.match(await lineOf(`${file}.1`), '"n":1');
  assert.not.match(await lineOf(file), '"n":1');

  for (let i = 0; i < 30; i += 1) log.append({ i, fill: 'x'.repeat(100) });
  assert.match(await lineOf(`${file}.1`), '"n":1', 'the younger file is not deleted');
  assert.ok((await stat(file)).size > 2_000, 'decisions are still recorded');
  assert.is(errors.length, 1);
  assert.not(log.appendLimited('token:bob', { refused: true }));
  log.close();
  assert.match(await lineOf(file), '"source":"token:bob","suppressed":1');

  const old = new Date(Date.now() - 15 * day);
  await utimes(`${file}.1`, old, old);
  const next = new AuditLog(settings);
  next.append({ n: 3 });
  assert.ok((await stat(file)).size < 100);
  assert.ok(next.appendLimited('token:bob', { refused: true }));
  next.close();
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
