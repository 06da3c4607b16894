// suite: full
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TestAuthority } from '../../test/support/authority.js';
import { Daemon } from '../../test/support/daemon.js';
import { Home } from './support/cli.js';

/** Sites whose hosts reach the internet only through an HTTP proxy. */
const s = suite<{ home: Home }>('HTTP proxies of the environment');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const portOf = (server: { address(): string | AddressInfo | null }): number => (server.address() as AddressInfo).port;

/** A proxy that resolves every name to loopback. Targets outside of `allowed` are forbidden. */
class Proxy implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    allowed: ReadonlyMap<string, number>,
    password: string,
  ) {
    server.on('connection', (socket: Socket) => this.#sockets.add(socket));
    server.on('connect', (request, client: Socket, head: Buffer) => {
      const target = request.url ?? '';
      this.asked.push(target);
      const port = allowed.get(target);
      const expected = `Basic ${Buffer.from(`user:${password}`).toString('base64')}`;
      const known = request.headers['proxy-authorization'] === expected;
      const status = known ? '403 Forbidden' : '407 Proxy Authentication Required';
      if (!known || port === undefined) return void client.end(`HTTP/1.1 ${status}\r\n\r\n`);
      const upstream = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.write(head);
        upstream.pipe(client).pipe(upstream);
      });
      for (const socket of [upstream, client]) socket.on('error', () => [upstream, client].map((one) => one.destroy()));
      this.#sockets.add(upstream);
    });
  }

  static async start(allowed: ReadonlyMap<string, number>, password = 'secret-word'): Promise<Proxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Proxy(server, allowed, password);
  }

  url(password = 'secret-word'): string {
    return `http://user:${password}@127.0.0.1:${portOf(this.server)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

s('the control channel uses HTTPS_PROXY, which resolves the name of the server', async ({ home }) => {
  await using daemon = await Daemon.start();
  const port = Number(daemon.address.split(':')[1]);
  const target = `gateway.example:${port}`;
  await using proxy = await Proxy.start(new Map([[target, port]]));
  const list = ['gateway', 'ls', '--s2cs', `${target}#${daemon.fingerprint}`];
  for (const variable of ['HTTPS_PROXY', 'https_proxy']) {
    const { exitCode, stderr } = await home.run(list, { [variable]: proxy.url() });
    assert.is(exitCode, 0, stderr);
  }
  assert.equal(proxy.asked, [target, target]);
  const wrong = ['gateway', 'ls', '--s2cs', `${target}#sha256:${'ab'.repeat(32)}`, '--json'];
  assert.match((await home.run(wrong, { HTTPS_PROXY: proxy.url() })).stdout, /SCI_TLS_UNTRUSTED/);
});

s('a proxy that rejects the target is named, without its password', async ({ home }) => {
  await using proxy = await Proxy.start(new Map());
  const list = ['gateway', 'ls', '--s2cs', 'gateway.example:5000', '--json'];
  for (const [url, status] of [
    [proxy.url(), '403'],
    [proxy.url('wrong-word'), '407'],
    ['http://user:secret-word@127.0.0.1:1', '127.0.0.1:1'],
  ] as const) {
    const { exitCode, stdout, stderr } = await home.run(list, { HTTPS_PROXY: url });
    assert.is(exitCode, 7);
    assert.match(stdout, status);
    assert.match(stdout, /HTTPS_PROXY.*NO_PROXY=gateway\.example/s);
    assert.not.match(stdout + stderr, /secret-word|wrong-word/);
  }
  const socks = { HTTPS_PROXY: 'socks5://user:secret-word@127.0.0.1:1' };
  const { exitCode, stdout } = await home.run(list, socks);
  assert.is(exitCode, 2);
  assert.not.match(stdout, /secret-word/);
});

s('a proxy that does not answer is named, also when the call has a shorter deadline', async ({ home }) => {
  const sockets: Socket[] = [];
  const silent = createTcpServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  try {
    const address = `127.0.0.1:${portOf(silent)}`;
    const list = ['gateway', 'ls', '--s2cs', 'gateway.example:5000', '--wait', '1s', '--json'];
    const { stdout } = await home.run(list, { HTTPS_PROXY: `http://user:secret-word@${address}` });
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    assert.is(error.code, 'SCI_DEADLINE');
    assert.match(error.message, `${address} of HTTPS_PROXY`);
    assert.not.match(stdout, /secret-word/);
  } finally {
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

s('a proxy or an issuer without TLS is an error of one line', async ({ home }) => {
  await using proxy = await Proxy.start(new Map());
  const list = ['gateway', 'ls', '--s2cs', 'gateway.example:5000', '--json'];
  const { stdout } = await home.run(list, { HTTPS_PROXY: proxy.url().replace('http:', 'https:') });
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  assert.is(error.code, 'SCI_S2CS_UNREACHABLE');
  assert.not.match(error.message, /\n|SSL routines/);
  const auth = { use: 'oidc', issuer: proxy.url().replace(/.*@/, 'https://'), client: 'scistream' };
  const config = join(home.path, 'user.yaml');
  const content = { facilities: { aps: { s2cs: 'gateway.example:5000', auth } } };
  await writeFile(config, JSON.stringify(content), { mode: 0o600 });
  const login = await home.failure('login', 'aps', '--config', config);
  assert.is(login.code, 'SCI_ISSUER_UNREACHABLE');
  assert.not.match(login.message, /\n|SSL routines/);
});

s('NO_PROXY and loopback addresses are direct', async ({ home }) => {
  await using daemon = await Daemon.start();
  await using proxy = await Proxy.start(new Map());
  const direct = ['gateway', 'ls', '--s2cs', `${daemon.address}#${daemon.fingerprint}`];
  const { exitCode, stderr } = await home.run(direct, { HTTPS_PROXY: proxy.url() });
  assert.is(exitCode, 0, stderr);
  const named = ['gateway', 'ls', '--s2cs', 'gateway.invalid:5000'];
  assert.is((await home.run(named, { HTTPS_PROXY: proxy.url(), NO_PROXY: 'other.example, .invalid' })).exitCode, 7);
  assert.equal(proxy.asked, []);
});

s('the login uses the proxy, too', async ({ home }) => {
  const authority = await TestAuthority.make(home.path);
  const files = await authority.issue('issuer', { purposes: ['server'], hosts: ['issuer.example'] });
  const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key, 'utf8')]);
  const issuer = 'https://issuer.example';
  const paths: string[] = [];
  const server = createTlsServer({ cert, key }, (request, response) => {
    paths.push(request.url ?? '');
    response.writeHead(200, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify({ issuer }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await using proxy = await Proxy.start(new Map([['issuer.example:443', portOf(server)]]));
    const auth = { use: 'oidc', issuer, client: 'scistream' };
    const config = join(home.path, 'user.yaml');
    const content = { facilities: { aps: { s2cs: 'gateway.example:5000', auth } } };
    await writeFile(config, JSON.stringify(content), { mode: 0o600 });
    const env = { HTTPS_PROXY: proxy.url(), NODE_EXTRA_CA_CERTS: authority.file };
    const { stdout } = await home.run(['login', 'aps', '--config', config, '--json'], env);
    // The issuer of this test offers no way to log in.
    assert.match(stdout, /SCI_LOGIN_FAILED/);
    assert.equal(proxy.asked, ['issuer.example:443']);
    assert.equal(paths, ['/.well-known/openid-configuration']);
  } finally {
    server.close();
  }
});

s.run();
