/** The addresses of the data server: what stands in the way of a unix socket or of a port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listenOn, listenOnSocket } from '@scistream/core/internal';
import { expectCode, temporaryDirectory, tcpServer, named } from '@scistream/core/testing';

const s = suite('listening');

const closed = (server: Server): Promise<unknown> => once(server.close(), 'close');

async function inDirectory(work: (path: string) => Promise<void>): Promise<void> {
  const directory = await temporaryDirectory();
  try {
    await work(join(directory.path, 'run', 's2ds.sock'));
  } finally {
    await directory.remove();
  }
}

s('a socket that a killed process left is replaced, with access for its owner only', () =>
  inDirectory(async (path) => {
    await mkdir(dirname(path));
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('ready'))`;
    const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(killed.stdout, 'data');
    killed.kill('SIGKILL');
    await once(killed, 'close');
    assert.ok((await stat(path)).isSocket(), 'it is still there');
    const server = createServer();
    await listenOnSocket(server, path);
    assert.is((await stat(path)).mode & 0o777, 0o600);
    await closed(server);
  }),
);

s('a socket on which another program listens, and a file of another kind, stay as they are', () =>
  inDirectory(async (path) => {
    const first = createServer((socket) => void socket.on('error', () => undefined));
    await listenOnSocket(first, path);
    await expectCode('SCI_LISTEN_FAILED', listenOnSocket(createServer(), path));
    assert.ok((await stat(path)).isSocket());
    await closed(first);
    await writeFile(path, 'notes');
    await expectCode('SCI_LISTEN_FAILED', listenOnSocket(createServer(), path));
    assert.is(await readFile(path, 'utf8'), 'notes');
  }),
);

s('a port on which another program listens is refused', async () => {
  await using taken = await tcpServer(named('taken'));
  await expectCode('SCI_LISTEN_FAILED', listenOn(createServer(), taken.address, 'Set listen.'));
});

s.run();
