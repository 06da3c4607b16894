// suite: full
/** SIGHUP to running daemons: a reload applies all changes or none, without disturbing callers and streams. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { dial, named, read, tcpServer, testCredentials } from '@scistream/core/testing';
import { connectPeer, refused, type Peer } from '../../test/support/clients.js';
import { freeRange } from '../../test/support/ports.js';
import { Home, nextLine, resultOf } from './support/cli.js';
import { IN_FORCE, NOTHING_CHANGED, Running } from './support/running.js';

const s = suite<{ home: Home }>('reload');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const hash = (token: string): string => createHash('sha256').update(token).digest('hex');
const tokens = (...subjects: string[]) => [
  { use: 'token', tokens: subjects.map((subject) => ({ subject, sha256: hash(subject) })) },
];

/** The certificate fingerprint of a new connection. */
async function fingerprint(address: string): Promise<string> {
  const { host, port } = parseAddress(address);
  const socket = connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const seen = socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase();
  socket.destroy();
  return `sha256:${seen}`;
}

class Site {
  readonly file: string;

  private constructor(
    readonly home: Home,
    readonly config: Record<string, unknown> & { readonly listen: string; readonly state: string },
  ) {
    this.file = join(home.path, 's2cs.conf');
  }

  static async create(home: Home): Promise<Site> {
    const { first, last } = await freeRange(17);
    const gateways = [{ name: 'dtn1', wan: '127.0.0.2', lan: '127.0.0.3', ports: `${first}-${last - 1}` }];
    const state = join(home.path, 'state');
    const encryption = 'optional';
    const config = { facility: 'aps', encryption, listen: `127.0.0.1:${last}`, state, auth: tokens('alice'), gateways };
    const site = new Site(home, config);
    await site.write();
    return site;
  }

  async write(more: object = {}): Promise<void> {
    await writeFile(this.file, JSON.stringify({ ...this.config, ...more }));
  }

  async start(): Promise<Running> {
    const daemon = new Running(this.home.start('s2cs.js', ['--config', this.file, '--release-on-exit']));
    await nextLine(daemon.child);
    return daemon;
  }

  async peer(authorization: string): Promise<Peer> {
    const certificate = join(this.config.state, 'tls', 'server.crt');
    return await connectPeer({ url: `https://${this.config.listen}`, certificate, authorization });
  }

  /** Writes a certificate of a new CA to the files of `tls`. */
  async newCertificate(): Promise<{ cert: string; key: string }> {
    const { certificate, key } = (await testCredentials()).inbound;
    const files = { cert: join(this.home.path, 'tls', 'cert.pem'), key: join(this.home.path, 'tls', 'key.pem') };
    await mkdir(join(this.home.path, 'tls'), { recursive: true });
    await writeFile(files.cert, certificate);
    await writeFile(files.key, key);
    return files;
  }
}

s('a new certificate, tokens and limits take effect; calls and data flows continue', async ({ home }) => {
  const site = await Site.create(home);
  await using daemon = await site.start();
  const { listen } = site.config;
  await using sink = await tcpServer(named('a'));
  const alice = await site.peer('alice');
  const uid = randomUUID();
  const target = formatAddress(sink.address);
  const [{ listeners }] = await Promise.all([
    alice.control.req({ uid, role: 'PROD', numConn: 1 }),
    alice.control.hello({ uid, prodListeners: [target] }),
  ]);
  await alice.control.update({ uid, remoteListeners: [target] });
  const data = await dial(parseAddress(listeners[0] ?? ''));
  data.write('1');
  assert.is(await read(data, 2), 'a1');
  const watch = alice.streams.watch({ uid })[Symbol.asyncIterator]();
  assert.not((await watch.next()).done);

  const first = await fingerprint(listen);
  const tls = await site.newCertificate();
  await site.write({ tls, auth: tokens('bob'), limits: { connections: 2 } });
  await daemon.reload(IN_FORCE);
  const second = await fingerprint(listen);
  assert.is.not(second, first);
  await site.newCertificate();
  await daemon.reload(IN_FORCE);
  const third = await fingerprint(listen);
  assert.is.not(third, second);
  assert.match(daemon.log, third);

  // The existing connection stays open, and its calls use the new configuration.
  await refused(alice.streams.get({ uid }), 'SCI_UNAUTHENTICATED');
  data.write('2');
  assert.is(await read(data, 1), '2');
  await site.write({ tls, auth: tokens('alice') });
  await daemon.reload(IN_FORCE);
  assert.is((await alice.streams.describeServer({})).maxConnections, 1024);
  const [next] = await Promise.all([watch.next(), alice.control.release({ uid })]);
  assert.not(next.done, 'the open watch reports the end');
  data.destroy();
  alice.cut();
});

s('an invalid or unchangeable value rejects the whole reload, and the log names it', async ({ home }) => {
  const site = await Site.create(home);
  await using daemon = await site.start();
  const { listen } = site.config;
  const alice = await site.peer('alice');
  const first = await fingerprint(listen);
  const tls = await site.newCertificate();
  const good = { tls, auth: tokens('bob'), limits: { connections: 2 } };
  const audit = { file: join(home.path, 'missing', 'audit.log') };
  const gateways = [{ name: 'dtn1', wan: '127.0.0.4', lan: '127.0.0.3', ports: '5100-5101' }];
  for (const [more, named] of [
    [{ limmits: {} }, /limmits/],
    [{ listen: '127.0.0.1:1', state: 'elsewhere' }, /listen, state\.$/],
    [{ gateways }, /gateways\.0\.wan, gateways\.0\.ports\.$/],
    [{ insecure: true }, /insecure\.$/],
    [{ proxies: { relay: { processes: 1 } } }, /proxies\.relay\.processes\.$/],
    [{ policy: 'missing.yaml' }, /missing\.yaml/],
    [{ audit }, /audit log cannot be written/],
    [{ auth: [{ use: 'nothing-here' }] }, /nothing-here/],
    [{ tls: { ...tls, key: tls.cert } }, /tls\.key/],
  ] as const) {
    await site.write({ ...good, ...more });
    assert.match(await daemon.reload(NOTHING_CHANGED), named);
  }
  await writeFile(site.file, 'facility: [');
  assert.match(await daemon.reload(NOTHING_CHANGED), /line 1/);
  assert.is(await fingerprint(listen), first);
  assert.is((await alice.streams.describeServer({})).maxConnections, 1024);
  assert.not.match(daemon.log, IN_FORCE);
  await site.write(good);
  await daemon.reload(IN_FORCE);
  await refused(alice.streams.describeServer({}), 'SCI_UNAUTHENTICATED');
  alice.cut();
});

s('a reload changes the log level', async ({ home }) => {
  const site = await Site.create(home);
  await using daemon = await site.start();
  const alice = await site.peer('alice');
  await alice.streams.describeServer({});
  assert.not.match(daemon.log, /call done/);
  await site.write({ log: 'debug' });
  await daemon.reload(IN_FORCE);
  await alice.streams.describeServer({});
  await daemon.says(/call done/);
  alice.cut();
});

s('s2ds reloads its configuration too; only the log level can change', async ({ home }) => {
  const { first, last } = await freeRange(16);
  const file = join(home.path, 's2ds.conf');
  const listen = `unix:${join(home.path, 's2ds.sock')}`;
  const config = { name: 'dtn1', listen, state: join(home.path, 'state'), ports: `${first}-${last}` };
  await writeFile(file, JSON.stringify(config));
  const child = home.start('s2ds.js', ['--config', file]);
  await using daemon = new Running(child);
  const result = resultOf(child);
  await nextLine(child);
  await writeFile(file, JSON.stringify({ ...config, name: 'dtn2' }));
  assert.match(await daemon.reload(NOTHING_CHANGED), /name\.$/);
  await writeFile(file, JSON.stringify({ ...config, log: 'debug' }));
  await daemon.reload(IN_FORCE);
  assert.is(child.exitCode, null);
  child.kill('SIGTERM');
  assert.is((await result).exitCode, 0);
});

s.run();
