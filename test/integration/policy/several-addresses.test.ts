/** A name with several addresses, from the UPDATE to the connection. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { exchange, named, temporaryDirectory } from '@scistream/core/testing';
import type { Resolver } from '@scistream/core/internal';
import { refused } from '../../support/clients.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('names with several addresses');

/** Answers with the last digit of its address. */
async function greeter(host: string, port = 0) {
  const server = createServer((socket) => named(host.slice(-1))(socket.on('error', () => undefined)));
  server.listen(port, host);
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

s('all of them are kept, shown and tried, and an update resolves the name again', async () => {
  const directory = await temporaryDirectory();
  const first = await greeter('127.0.0.5');
  const { port } = first;
  const second = await greeter('127.0.0.6', port);
  const policy = join(directory.path, 'policy.yaml');
  const networks = ['127.0.0.0/8'];
  const rule = { name: 'all', who: { identities: ['*'] }, encryption: ['none'], targets: { networks } };
  await writeFile(policy, JSON.stringify({ rules: [rule] }));
  let known = ['127.0.0.7', '127.0.0.6'];
  const resolver: Resolver = () => Promise.resolve(known);
  try {
    await using server = await TestServer.start({ policy, resolver });
    const { streams, control } = server.peer;
    const { uid, entry } = await server.setUp({ targets: [`two.test:${port}`] });
    assert.is(await exchange(entry, 'x'), '6x');
    const { targets, fallbacks } = await streams.get({ uid });
    assert.equal([targets, fallbacks.map(({ hosts }) => hosts)], [[`127.0.0.7:${port}`], [['127.0.0.6']]]);
    const { results } = await streams.connectTargets({ uid });
    assert.equal(
      results.map(({ address, connected }) => [address, connected]),
      [[`127.0.0.6:${port}`, true]],
    );
    const { events } = await streams.events({ uid });
    assert.match(events.at(-1)?.detail ?? '', `127.0.0.7:${port} or 127.0.0.6:${port}`);
    known = ['127.0.0.7', entry.host];
    const loop = control.update({ uid, remoteListeners: [`two.test:${entry.port}`] });
    await refused(loop, 'SCI_TARGETS_INVALID');
    known = ['127.0.0.5'];
    await control.update({ uid, remoteListeners: [`two.test:${port}`] });
    assert.is(await exchange(entry, 'x'), '5x');
    assert.equal((await streams.get({ uid })).fallbacks, []);
  } finally {
    first.server.close();
    second.server.close();
    await directory.remove();
  }
});

s.run();
