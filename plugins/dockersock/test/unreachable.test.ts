import { spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer as httpServer, type ClientRequest } from 'node:http';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, SciStreamError, silentLogger } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';
import { DockerOptions, DockerRuntime, findEndpoint } from '@scistream/plugin-dockersock';

const s = suite('an unusable engine');

/** The error of `ping`. */
async function complaint(host: string, dataDir: string): Promise<SciStreamError> {
  const options = DockerOptions.parse({ host });
  const context = { id: 'docker', find: () => findEndpoint(options), log: silentLogger, dataDir };
  const error: unknown = await new DockerRuntime(context, options).ping().catch((thrown: unknown) => thrown);
  if (!SciStreamError.is(error)) throw new Error(`not a SciStreamError: ${String(error)}`);
  assert.is(error.code, 'SCI_RUNTIME_UNREACHABLE');
  assert.ok(error.suggestions.length > 0);
  return error;
}

/** A server on a unix socket until it is disposed. */
async function listening(server: Server, path: string): Promise<AsyncDisposable> {
  server.listen(path);
  await once(server, 'listening');
  return { [Symbol.asyncDispose]: async () => void (server.close(), await once(server, 'close')) };
}

const saying = (version: object, info: object): Server =>
  httpServer((request, response) => {
    response.setHeader('connection', 'close');
    response.end(JSON.stringify(request.url?.startsWith('/version') ? version : info));
  });

s('distinguishes a missing socket, a refused connection and missing permission', async () => {
  await using at = await temporaryDirectory();
  const path = join(at.path, 'd.sock');
  const absent = await complaint(`unix://${path}`, at.path);
  assert.match(absent.message, /does not exist/);
  assert.match(absent.suggestions.join(), /docker\.io/);
  await writeFile(path, '');
  const refused = await complaint(`unix://${path}`, at.path);
  assert.match(refused.message, /does not listen/);
  if (process.getuid?.() === 0) return;
  await mkdir(join(at.path, 'closed'));
  await chmod(join(at.path, 'closed'), 0o000);
  const forbidden = await complaint(`unix://${at.path}/closed/d.sock`, at.path);
  assert.match(forbidden.suggestions.join(), /usermod -aG docker/);
});

s('reports a server that is not an engine or too old', async () => {
  await using at = await temporaryDirectory();
  const answers: [string, Server, RegExp][] = [
    [
      'banner',
      createServer(
        (socket) =>
          void socket
            .on('error', () => undefined)
            .resume()
            .end('220 mail.example ESMTP\r\n'),
      ),
      /not a Docker engine/,
    ],
    ['web', httpServer((_, response) => void response.writeHead(404).end('<html>')), /not a supported engine/],
    ['other', saying({ hello: 1 }, {}), /not a Docker engine/],
    ['old', saying({ ApiVersion: '1.24' }, { ServerVersion: '1.12' }), /too old: it has API 1\.24/],
  ];
  for (const [name, server, expected] of answers) {
    const path = join(at.path, `${name}.sock`);
    await using _ = await listening(server, path);
    assert.match((await complaint(`unix://${path}`, at.path)).message, expected, name);
  }
});

s('reports a tcp host that refuses or has no address, and a failure of ssh', async () => {
  await using at = await temporaryDirectory();
  assert.match((await complaint('tcp://127.0.0.1:9', at.path)).message, /refused the connection/);
  assert.match((await complaint('tcp://no-such-host.invalid:2375', at.path)).message, /no-such-host\.invalid/);
  assert.match((await complaint('ssh://127.0.0.1:9', at.path)).message, /ssh/);
  assert.match((await complaint('nonsense://x', at.path)).message, /not an address/);
});

/** docker-modem formats the agent with every request; with fifty containers that took minutes. */
s('formatting a request does not format all open connections', async () => {
  await using at = await temporaryDirectory();
  const written: string[] = [];
  const note = (message: unknown): void => {
    const { agent } = (message as { readonly request: ClientRequest & { readonly agent: unknown } }).request;
    written.push(inspect(agent, { showHidden: true, depth: null }));
  };
  subscribe('http.client.request.start', note);
  try {
    await using _ = await listening(saying({ hello: 1 }, {}), join(at.path, 'd.sock'));
    await complaint(`unix://${at.path}/d.sock`, at.path);
  } finally {
    unsubscribe('http.client.request.start', note);
  }
  assert.equal([...new Set(written)], ['Agent']);
});

/** An engine whose commands never end, and whose pids are those of foreign processes here. */
const elsewhere = (pid: number): Server =>
  httpServer((request, response) => {
    response.setHeader('connection', 'close');
    const { method, url = '' } = request;
    if (method === 'HEAD') return void response.end();
    if (url.endsWith('/start')) return void response.flushHeaders();
    const container = {
      Id: 'c',
      Image: 'i',
      State: { Running: true, Pid: pid },
      Config: { Labels: { [LABELS.managed]: 'true' }, User: '0:0', WorkingDir: '/', Env: [], Image: 'i' },
    };
    const command = { Id: 'e', Running: true, Pid: pid };
    response.writeHead(method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(url.includes('/exec') ? command : container));
  });

s('a command on another machine that does not end kills no local process', async () => {
  await using at = await temporaryDirectory();
  const path = join(at.path, 'd.sock');
  const victim = spawn('sh', ['-c', 'read word; exit 7'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const end = once(victim, 'exit');
  try {
    await once(victim, 'spawn');
    await using _ = await listening(elsewhere(victim.pid ?? 0), path);
    const options = DockerOptions.parse({ host: `unix://${path}` });
    const context = { id: 'docker', find: () => findEndpoint(options), log: silentLogger, dataDir: at.path };
    const running = new DockerRuntime(context, options).exec({ name: 'scistream-a-0' }, ['endless'], 200);
    const error: unknown = await running.catch((thrown: unknown) => thrown);
    assert.match(String(error), /did not end within 200 ms/);
    victim.stdin.end('go\n');
    assert.equal(await end, [7, null]);
  } finally {
    victim.kill('SIGKILL');
  }
});

s.run();
