/** Without rules: the targets that a control server allows if others can call it. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { temporaryDirectory } from '@scistream/core/testing';
import type { Resolver } from '@scistream/core/internal';
import { refused } from '../../support/clients.js';
import { TestServer, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('special targets');

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  {
    use: 'token',
    tokens: [
      { subject: 'alice', sha256: sha256('alice-secret') },
      { subject: 'root', sha256: sha256('root-secret'), admin: true },
    ],
  },
];
/** Does not look like a loopback address, but only this machine can reach it: the kernel treats it as 127.0.0.1. */
const FOR_OTHERS = { host: '::ffff:127.0.0.1', port: 0 };

s('loopback, link-local and metadata addresses are rejected by address and by name, for admins, too', async () => {
  const known: Readonly<Record<string, readonly string[]>> = {
    'inside.test': ['127.0.0.1'],
    'mixed.test': ['192.0.2.80', '169.254.169.254'],
    'zone.test': ['fe80::1%lo'],
  };
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const resolver: Resolver = (host) => Promise.resolve(known[host] ?? []);
  const audit = { file, size: 1e6, keep: 0 };
  await using server = await TestServer.start({ auth: AUTH, listen: FOR_OTHERS, resolver, audit });
  const alice = await server.connect('alice-secret');
  const { uid } = await server.setUp({ peer: alice, targets: ['192.0.2.80:9'] });
  const special = [
    '127.0.0.1:22',
    '[::1]:22',
    '[::ffff:7f00:1]:22',
    '169.254.169.254:80',
    '100.100.100.200:80',
    '0.0.0.0:1',
  ];
  for (const peer of [alice, await server.connect('root-secret')]) {
    for (const target of [...special, 'inside.test:22', 'mixed.test:80', 'zone.test:1']) {
      const message = await refused(
        peer.control.update({ uid, remoteListeners: ['192.0.2.81:9', target] }),
        'SCI_FORBIDDEN',
      );
      assert.match(message, /needs a rule at this control server/);
      if (target.includes('.test')) assert.not.match(message, /127\.0|169\.254|fe80/);
    }
    const probe = { uid, address: '127.0.0.1:22', challenge: '0'.repeat(64) };
    await refused(peer.streams.runProbe(probe), 'SCI_FORBIDDEN');
    await refused(peer.streams.runProbe({ ...probe, address: 'mixed.test:80' }), 'SCI_FORBIDDEN');
    await refused(peer.control.update({ uid, remoteListeners: ['nowhere.test:1'] }), 'SCI_TARGET_UNRESOLVED');
  }
  assert.equal((await alice.streams.get({ uid })).targets, ['192.0.2.80:9']);
  assert.match(
    await readFile(file, 'utf8'),
    /mixed\.test:80, which resolves to 169\.254\.169\.254 here, is a metadata service/,
  );
  await directory.remove();
});

s('a name is resolved once, and the checked address is in force', async () => {
  let looked = 0;
  const resolver: Resolver = () => Promise.resolve([(looked += 1) === 1 ? '192.0.2.80' : '127.0.0.1']);
  await using server = await TestServer.start({ auth: AUTH, listen: FOR_OTHERS, resolver });
  const alice = await server.connect('alice-secret');
  const { uid } = await server.setUp({ peer: alice, targets: ['rebind.test:9', 'rebind.test:9'] });
  assert.equal((await alice.streams.get({ uid })).targets, ['192.0.2.80:9']);
  assert.is(looked, 1);
  await refused(alice.control.update({ uid, remoteListeners: ['rebind.test:9'] }), 'SCI_FORBIDDEN');
});

s(
  'a control server that only this machine can call forwards to loopback, and leaves names to the gateway',
  async () => {
    const resolver: Resolver = () => Promise.reject(new Error('not asked'));
    await using server = await TestServer.start({ auth: AUTH, resolver });
    const alice = await server.connect('alice-secret');
    const { uid } = await server.setUp({ peer: alice, targets: ['127.0.0.1:9'] });
    await alice.control.update({ uid, remoteListeners: ['localhost:9'] });
    assert.match((await alice.streams.get({ uid })).targets.join(), /localhost:9|127\.0\.0\.1:9|::1\]:9/);
  },
);

s.run();
