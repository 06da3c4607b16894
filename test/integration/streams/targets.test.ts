/** UPDATE: where connections go, and which targets are rejected. */
import * as assert from 'uvu/assert';
import { formatAddress, type ErrorCode } from '@scistream/core';
import { dial, exchange, named, read, tcpServer } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { TestServer, toAddress } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('targets');

s('a second UPDATE retargets new connections and leaves open ones alone', async () => {
  await using server = await TestServer.start();
  await using first = await tcpServer(named('1'));
  await using second = await tcpServer(named('2'));
  const { uid, entry } = await server.setUp({ targets: [formatAddress(first.address)] });
  const early = await dial(entry);
  assert.is(await read(early, 1), '1');
  const target = formatAddress(second.address);
  const reply = await server.peer.control.update({ uid, remoteListeners: [target], role: 'PROD' });
  assert.equal(reply.prodListeners, [target]);
  assert.is(await exchange(entry, 'new'), '2new');
  early.write('still here');
  assert.is(await read(early, 10), 'still here');
  early.destroy();
  assert.equal([first.accepted, second.accepted], [1, 1]);
  assert.equal((await server.peer.streams.get({ uid })).targets, [target]);
});

s('listener i forwards to target i mod count, and the answer says so', async () => {
  await using server = await TestServer.start();
  await using a = await tcpServer(named('A'));
  await using b = await tcpServer(named('B'));
  const { uid, listeners } = await server.setUp({ count: 5 });
  const targets = [a, b].map(({ address }) => formatAddress(address));
  const reply = await server.peer.control.update({ uid, remoteListeners: targets, role: 'PROD' });
  assert.equal(reply.listeners, listeners.map(formatAddress));
  assert.equal(
    reply.prodListeners,
    [0, 1, 0, 1, 0].map((i) => targets[i]),
  );
  const names = await Promise.all(listeners.map((listener) => exchange(listener, '')));
  assert.equal(names, ['A', 'B', 'A', 'B', 'A']);
});

s('with more targets than listeners, the surplus is not used, and the answer does not name it', async () => {
  await using server = await TestServer.start();
  await using a = await tcpServer(named('A'));
  const { uid, entry } = await server.setUp({ count: 1 });
  const used = formatAddress(a.address);
  const reply = await server.peer.control.update({ uid, remoteListeners: [used, '127.0.0.1:1'], role: 'PROD' });
  assert.equal(reply.prodListeners, [used]);
  assert.is(await exchange(entry, 'x'), 'Ax');
});

s('an UPDATE that fails keeps the old targets in force', async () => {
  await using server = await TestServer.start();
  await using old = await tcpServer(named('O'));
  const target = formatAddress(old.address);
  const { uid, entry } = await server.setUp({ count: 2, targets: [target] });
  const { control, streams } = server.peer;
  const failing: readonly (readonly [readonly string[], ErrorCode])[] = [
    [['127.0.0.1:9', 'nowhere.invalid:5001'], 'SCI_TARGET_UNRESOLVED'],
    [['127.0.0.1:9', 'nonsense'], 'SCI_ADDRESS_INVALID'],
    [[], 'SCI_TARGETS_INVALID'],
  ];
  for (const [remoteListeners, code] of failing) {
    await refused(control.update({ uid, remoteListeners: [...remoteListeners], role: 'PROD' }), code);
    assert.equal((await streams.get({ uid })).targets, [target, target]);
    assert.is(await exchange(entry, 'x'), 'Ox');
    await control.update({ uid, remoteListeners: [target], role: 'PROD' });
  }
});

s('text that is not host:port is rejected before anything happens, as a target and in HELLO', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp();
  const { control, streams } = server.peer;
  const bad = [
    'abc',
    '',
    ':5001',
    '1.2.3.4',
    '1.2.3.4:',
    '1.2.3.4:0',
    '1.2.3.4:99999',
    '1.2.3.4:-1',
    '1.2.3.4:5001 ',
    '1.2.3.4:5001\n',
    '1.2.3.4:5001\nserver evil 6.6.6.6:1',
    '1.2.3.4:5001\r\n',
    '1.2.3.4:5001"',
    '"1.2.3.4":5001',
    '{{7*7}}:5001',
    '{% x %}:5001',
    '1.2.3.4:{{ 5001 }}',
    'a b:5001',
    '../../etc/passwd:1',
    '$(reboot):1',
    'a;b:1',
    '1.2.3.4:5001#',
    'host\0:1',
    '::1:5001',
    '[::1]5001',
    '[fe80::1%lo]:5001',
    '256.1.1.1:5001',
    `${'a'.repeat(10_000)}:5001`,
  ];
  for (const text of bad) {
    const message = await refused(
      control.update({ uid, remoteListeners: ['127.0.0.1:9', text], role: 'PROD' }),
      'SCI_ADDRESS_INVALID',
    );
    assert.not.match(message, /\n|\0/, 'the value is quoted');
    assert.ok(message.length < 400, `a message of ${message.length} characters`);
    assert.equal((await streams.get({ uid })).targets, []);
  }
  await refused(server.setUp({ announced: ['10.0.0.1:1', '{{7*7}}:5001'] }), 'SCI_ADDRESS_INVALID');
  const many = Array.from({ length: 5000 }, () => '127.0.0.1:9');
  await refused(control.update({ uid, remoteListeners: many, role: 'PROD' }), 'SCI_TARGETS_INVALID');
});

s('concurrent UPDATEs of one stream run one after another: the last answer is in force', async () => {
  await using server = await TestServer.start();
  const servers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => tcpServer(named(name))));
  try {
    const { uid, entry } = await server.setUp();
    const answered: string[] = [];
    await Promise.all(
      servers.map(async ({ address }) => {
        const target = formatAddress(address);
        const reply = await server.peer.control.update({ uid, remoteListeners: [target], role: 'PROD' });
        assert.equal(reply.prodListeners, [target]);
        answered.push(target);
      }),
    );
    const { targets } = await server.peer.streams.get({ uid });
    assert.equal(targets, answered.slice(-1));
    const name = await exchange(entry, '');
    assert.equal(servers.slice('abcd'.indexOf(name))[0]?.address, toAddress(targets[0] ?? ''));
  } finally {
    await Promise.all(servers.map((each) => each.close()));
  }
});

s.run();
