// suite: full
/** How `proxies`, `runtimes` and `doctor` report missing and broken parts. */
import { once } from 'node:events';
import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { createServer as createHttps } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeCertificate } from '../../plugins/janus/test/emulator/certificate.js';
import { freeRange } from '../../test/support/ports.js';
import { Home } from './support/cli.js';

interface Listed {
  readonly id: string;
  readonly usable: boolean;
  readonly missing?: { readonly what: string; readonly how: readonly string[] };
}

interface Diagnosis {
  readonly healthy: boolean;
  readonly findings: readonly { check: string; level: string; message: string; suggestions: readonly string[] }[];
}

const s = suite<{ home: Home }>('usable proxies and runtimes');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/** Writes a control server configuration. @returns its path */
async function configure(home: Home, config: object): Promise<string> {
  const file = join(home.path, 's2cs.conf');
  await writeFile(file, JSON.stringify({ facility: 'aps', gateways: [{}], ...config }));
  return file;
}

async function listed(home: Home, command: 'proxies' | 'runtimes', id: string, config?: object): Promise<Listed> {
  const file = config && ['--config', await configure(home, config)];
  const all = (await home.json(command, ...(file ?? []))) as Listed[];
  const found = all.find((offer) => offer.id === id);
  assert.ok(found);
  return found;
}

s('a proxy without its program is listed with an install command', async ({ home }) => {
  const { exitCode, stdout } = await home.run(['proxies', '--json'], { PATH: '/nonexistent' });
  assert.is(exitCode, 0);
  const proxies = JSON.parse(stdout) as Listed[];
  assert.equal(
    proxies.map(({ id, usable }) => [id, usable]),
    [
      ['relay', true],
      ['haproxy', false],
      ['nginx', false],
      ['stunnel', false],
    ],
  );
  const nginx = proxies.find(({ id }) => id === 'nginx');
  assert.match(nginx?.missing?.what ?? '', 'program nginx is not installed');
  assert.equal(nginx?.missing?.how, [
    'apt-get install nginx libnginx-mod-stream',
    'Or use a container runtime: --runtime docker',
  ]);
  const text = await home.run(['proxies'], { PATH: '/nonexistent' });
  assert.match(text.stdout, /^nginx +\S+ +unusable here: .*\n +try: apt-get install nginx/m);
});

s('the program of a proxy is searched at the configured path, and its options are checked', async ({ home }) => {
  const own = join(home.path, 'my-haproxy');
  await writeFile(own, '#!/bin/sh\n');
  await chmod(own, 0o755);
  const found = await listed(home, 'proxies', 'haproxy', { proxies: { haproxy: { executable: own } } });
  assert.is(found.usable, true);
  const gone = await listed(home, 'proxies', 'haproxy', { proxies: { haproxy: { executable: '/no/such' } } });
  assert.match(gone.missing?.what ?? '', '/no/such');
  assert.match(gone.missing?.how.join() ?? '', 'proxies.haproxy.executable');
  const wrong = await listed(home, 'proxies', 'haproxy', { proxies: { haproxy: { processes: 'many' } } });
  assert.match(wrong.missing?.what ?? '', 'proxies.haproxy.processes');
});

s('engine errors distinguish a missing socket, no listener, and no answer', async ({ home }) => {
  const socket = join(home.path, 'engine.sock');
  const options = { runtimes: { dockersock: { socket } } };
  assert.match((await listed(home, 'runtimes', 'dockersock', options)).missing?.what ?? '', 'does not exist');

  // A server that accepts and never answers: the command must give up soon and exit.
  const silent = createServer((connection) => connection.on('error', () => undefined).resume()).listen(
    `${socket}.silent`,
  );
  await once(silent, 'listening');
  const mute = { runtimes: { dockersock: { socket: `${socket}.silent` } } };
  const { missing } = await listed(home, 'runtimes', 'dockersock', mute);
  assert.match(missing?.what ?? '', 'did not answer');
  assert.ok((missing?.how.length ?? 0) > 0);

  // Closing a socket removes its original name, so a renamed socket stays.
  await rename(`${socket}.silent`, socket);
  silent.close();
  await once(silent, 'close');
  assert.match((await listed(home, 'runtimes', 'dockersock', options)).missing?.what ?? '', 'does not listen');
});

s('Janus errors distinguish a missing configuration, no server, and a wrong password', async ({ home }) => {
  const bare = await listed(home, 'runtimes', 'janus');
  assert.match(bare.missing?.what ?? '', 'runtimes.janus.url');

  const pair = await makeCertificate();
  const [ca, passwordFile] = [join(home.path, 'ca.crt'), join(home.path, 'password')];
  await writeFile(ca, pair.cert);
  await writeFile(passwordFile, 'wrong\n', { mode: 0o600 });
  const server = createHttps(pair, (_request, response) => response.writeHead(401).end('{}')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const nodes = [{ name: 'n1', wan: '127.0.0.1', lan: '127.0.0.1' }];
  const auth = { user: 'admin', passwordFile };
  const janus = { url: `https://127.0.0.1:${port}`, ca, auth, nodes, retries: 0, timeout: 3_000 };
  const refused = await listed(home, 'runtimes', 'janus', { runtimes: { janus } });
  assert.match(`${refused.missing?.what} ${refused.missing?.how.join(' ')}`, /401|password|credentials/i);
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  const absent = await listed(home, 'runtimes', 'janus', { runtimes: { janus } });
  assert.is(absent.usable, false);
  assert.not.equal(absent.missing?.what, refused.missing?.what);
});

s('doctor reports no problem for a working daemon', async ({ home }) => {
  const { first, last } = await freeRange(4);
  await mkdir(join(home.path, 's2cs'), { mode: 0o700 });
  const file = await configure(home, { state: join(home.path, 's2cs'), gateways: [{ ports: `${first}-${last}` }] });
  const { healthy, findings } = (await home.json('doctor', '--config', file)) as Diagnosis;
  assert.ok(healthy);
  const levels = Object.fromEntries(findings.map(({ check, level }) => [check, level]));
  for (const check of ['Node.js', 'configuration', 'state', 'runtime', 'proxy', 'port range', 'open files', 'ports'])
    assert.is(levels[check], 'ok', check);
  assert.is(levels['wan and lan'], 'warning', 'reachable only from this machine');
});

s('doctor reports problems with suggestions and exits with 1', async ({ home }) => {
  const { first } = await freeRange(1);
  const taken = createServer().listen(first, '127.0.0.1');
  await once(taken, 'listening');
  const state = join(home.path, 's2cs');
  await mkdir(state);
  await chmod(state, 0o755);
  const gateway = { wan: '192.0.2.1', ports: `${first}-${first}`, proxy: 'haproxy' };
  const proxies = { haproxy: { executable: '/no/such' } };
  const file = await configure(home, { state, gateways: [gateway], proxies });
  const { exitCode, stdout } = await home.run(['doctor', '--config', file, '--json']);
  taken.close();
  assert.is(exitCode, 1);
  const { healthy, findings } = JSON.parse(stdout) as Diagnosis;
  assert.is(healthy, false);
  const wrong = findings.filter(({ level }) => level !== 'ok').map(({ check, level }) => `${check} ${level}`);
  for (const expected of ['state warning', 'wan problem', 'ports problem', 'proxy problem'])
    assert.ok(wrong.includes(expected), `${expected} in ${wrong.join()}`);
  await chmod(state, 0o777);
  const other = JSON.parse((await home.run(['doctor', '--config', file, '--json'])).stdout) as Diagnosis;
  assert.ok(other.findings.some(({ check, level }) => check === 'state' && level === 'problem'));
  for (const { suggestions, level } of findings) if (level !== 'ok') assert.ok(suggestions.length > 0);
});

s('doctor starts the proxy, and reports one that is installed but does not start', async ({ home }) => {
  const { first, last } = await freeRange(4);
  const state = join(home.path, 's2cs');
  const ports = `${first}-${last}`;
  const diagnose = async (gateway: object, proxies: object = {}): Promise<Diagnosis> => {
    const file = await configure(home, { state, gateways: [{ ports, ...gateway }], proxies });
    return JSON.parse((await home.run(['doctor', '--config', file, '--json'])).stdout) as Diagnosis;
  };
  const proxyOf = ({ findings }: Diagnosis) => findings.find(({ check }) => check === 'proxy')?.level;
  assert.is(proxyOf(await diagnose({})), 'ok');
  assert.is(proxyOf(await diagnose({ proxy: 'haproxy' }, { haproxy: { executable: '/bin/false' } })), 'problem');
});

s('doctor reports an unreachable facility', async ({ home }) => {
  const { first } = await freeRange(1);
  const file = join(home.path, 's2uc.yaml');
  await writeFile(file, JSON.stringify({ facilities: { aps: { s2cs: `127.0.0.1:${first}`, insecure: true } } }));
  const { exitCode, stdout } = await home.run(['doctor', '--config', file]);
  assert.is(exitCode, 1);
  assert.match(stdout, /^problem +aps: .*\n +try: /m);
});

s.run();
