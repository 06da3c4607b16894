/** Names of identities: from the claims of a token, from authenticators of plugins, and in the audit log. */
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Authenticator, Identity } from '@scistream/core';
import { AuditLog, AuthenticatorChain, checkClaims, identityFrom } from '@scistream/core/internal';
import { expectCode, temporaryDirectory } from '@scistream/core/testing';

const s = suite('names of identities');

const RULES = {
  issuer: 'https://issuer.example',
  audience: ['aps'],
  scope: [],
  clockSkew: 0,
  subjectClaim: 'sub',
  groupsClaim: 'groups',
  admins: [],
  adminGroups: ['ops'],
};
/** A line break, a line separator, a right-to-left override, a byte order mark, a delete and half a character. */
const UNSAFE = ['a\nb', 'a\u2028b', 'a\u202eb', '\ufeffa', 'a\x7f', 'a\ud800'];

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return '';
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
};

s('a groups claim that is a text names one group', () => {
  const one = identityFrom({ sub: 'alice', groups: 'x ops' }, RULES);
  assert.equal([one.groups, one.admin], [['x ops'], false]);
  assert.is(identityFrom({ sub: 'alice', groups: 'ops' }, RULES).admin, true);
  assert.equal(identityFrom({ sub: 'alice', groups: ['x ops', 'ops'] }, RULES).groups, ['x ops', 'ops']);
});

s('a groups claim of another type is refused', () => {
  for (const groups of [7, true, { ops: true }, ['ops', 7], [['ops']], [null]])
    assert.is(
      codeOf(() => identityFrom({ sub: 'alice', groups }, RULES)),
      'SCI_TOKEN_MALFORMED',
      JSON.stringify(groups),
    );
  for (const groups of [undefined, null, []])
    assert.is(identityFrom({ sub: 'alice', groups }, RULES).groups, undefined);
});

s('an unsafe subject is refused, and an unsafe group gives no rights', () => {
  for (const name of UNSAFE) {
    assert.is(
      codeOf(() => identityFrom({ sub: name }, RULES)),
      'SCI_TOKEN_MALFORMED',
      JSON.stringify(name),
    );
    assert.equal(identityFrom({ sub: 'alice', groups: [name, 'x'] }, RULES).groups, ['x'], JSON.stringify(name));
  }
  assert.is(identityFrom({ sub: 'Zoë Müller, 東京 \u{1f600}' }, RULES).subject, 'Zoë Müller, 東京 \u{1f600}');
});

s('an identity from any authenticator is checked', async () => {
  const authenticate = (identity: Partial<Identity>): Promise<Identity> => {
    const made = { subject: 'alice', issuer: 'plugin', admin: false, ...identity };
    const link: Authenticator = { id: 'plugin', authenticate: () => Promise.resolve(made) };
    return new AuthenticatorChain([link]).authenticate({ token: 'x', peer: '127.0.0.1' });
  };
  assert.is((await authenticate({ groups: ['x'] })).subject, 'alice');
  for (const name of [...UNSAFE, '', 'x'.repeat(201)]) {
    await expectCode('SCI_UNAUTHENTICATED', authenticate({ subject: name }));
    await expectCode('SCI_UNAUTHENTICATED', authenticate({ issuer: name }));
    await expectCode('SCI_UNAUTHENTICATED', authenticate({ groups: [name] }));
  }
});

s('an identity of other types is refused', async () => {
  const wrong: readonly object[] = [
    { admin: 'false' },
    { admin: 1 },
    { subject: 7 },
    { groups: 'ops' },
    { groups: [7] },
  ];
  for (const part of wrong) {
    const made = { subject: 'alice', issuer: 'plugin', admin: false, ...part } as Identity;
    const chain = new AuthenticatorChain([{ id: 'plugin', authenticate: () => Promise.resolve(made) }]);
    await expectCode('SCI_UNAUTHENTICATED', chain.authenticate({ token: 'x', peer: '127.0.0.1' }));
  }
});

s('times and audiences of an introspected token have their exact types', () => {
  const token = { active: true, sub: 'alice', aud: ['other', 'aps'], exp: Date.now() / 1000 + 60 };
  checkClaims(token, RULES);
  const codeWith = (part: object): string => codeOf(() => checkClaims({ ...token, ...part }, RULES));
  for (const time of ['1', '99999999999', [1], {}, true]) {
    assert.is(codeWith({ exp: time }), 'SCI_TOKEN_MALFORMED', JSON.stringify(time));
    assert.is(codeWith({ nbf: time }), 'SCI_TOKEN_MALFORMED', JSON.stringify(time));
  }
  for (const aud of ['aps other', 'xaps', { aps: true }, [['aps']], ['aps '], undefined, null, 7])
    assert.is(codeWith({ aud }), 'SCI_TOKEN_AUDIENCE', JSON.stringify(aud));
  assert.is(codeWith({ iss: ['https://issuer.example'] }), 'SCI_TOKEN_ISSUER');
});

s('a claim that holds the subject is a text, at whatever path', () => {
  const subjectOf = (claims: object, subjectClaim: string): string =>
    codeOf(() => identityFrom(claims as Record<string, unknown>, { ...RULES, subjectClaim }));
  assert.is(subjectOf({ preferred_username: 'alice' }, 'preferred_username'), '');
  for (const value of [7, true, ['alice'], { toString: 'alice' }, null, '', 'a\u2028b'])
    for (const claim of ['sub', 'email', 'preferred_username'])
      assert.is(subjectOf({ [claim]: value }, claim), 'SCI_TOKEN_MALFORMED', JSON.stringify(value));
  assert.is(subjectOf({ a: { b: 'alice' } }, 'a.b'), '');
  assert.is(subjectOf({ a: 'alice' }, 'a.length'), 'SCI_TOKEN_MALFORMED');
});

s('the audit log escapes what a terminal or a reader of lines could misread', async () => {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit');
  const log = new AuditLog({ file, size: 1_000_000, keep: 0 });
  const entry = { text: UNSAFE.slice(0, -1).join(' '), name: 'Zoë' };
  log.append(entry);
  log.close();
  const text = await readFile(file, 'utf8');
  assert.equal(JSON.parse(text), entry);
  assert.match(text, /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*\n$/u);
  assert.match(text, 'Zoë');
  await directory.remove();
});

s.run();
