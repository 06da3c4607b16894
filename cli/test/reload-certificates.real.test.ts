// suite: full
/** SIGHUP with client certificates: a new CA and revoked certificates. Streams are not affected. */
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { ControlClient, resolveEndpoint } from '@scistream/core/client';
import { dial, named, read, tcpServer } from '@scistream/core/testing';
import { TestAuthority, type CertificateFiles } from '../../test/support/authority.js';
import { freeRange } from '../../test/support/ports.js';
import { Home, nextLine } from './support/cli.js';
import { IN_FORCE, NOTHING_CHANGED, Running } from './support/running.js';

const s = suite<{ home: Home }>('reload of client certificate settings');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const HOST = '127.0.0.1';
const LIMITS = { deadlineMs: 60_000 };

/** A daemon with a client CA, two client certificates, and a stream of one client that carries data. */
class Site implements AsyncDisposable {
  readonly #clients: ControlClient[] = [];

  private constructor(
    readonly home: Home,
    readonly ca: TestAuthority,
    readonly alice: CertificateFiles,
    readonly bob: CertificateFiles,
    private readonly config: { readonly listen: string; readonly tls: object },
    readonly daemon: Running,
  ) {}

  static async start(home: Home): Promise<Site> {
    const ca = await TestAuthority.make(home.path, 'first');
    const { first, last } = await freeRange(9);
    const config = {
      listen: `${HOST}:${last}`,
      state: join(home.path, 'state'),
      encryption: 'optional',
      tls: { ...(await ca.server('server', HOST)), clientCa: ca.file },
      auth: [{ use: 'certificate', issuer: 'aps', admins: ['bob'] }],
      audit: { file: join(home.path, 'audit.jsonl') },
      gateways: [{ wan: '127.0.0.2', lan: '127.0.0.3', ports: `${first}-${last - 1}` }],
    };
    await writeFile(join(home.path, 's2cs.conf'), JSON.stringify(config));
    const [alice, bob] = [await ca.issue('alice'), await ca.issue('bob')];
    const child = home.start('s2cs.js', ['--config', 's2cs.conf', '--release-on-exit']);
    const daemon = new Running(child);
    await nextLine(child);
    return new Site(home, ca, alice, bob, config, daemon);
  }

  /** A client with its own connection. */
  client(certificate: CertificateFiles): ControlClient {
    const client = new ControlClient(resolveEndpoint(this.config.listen, {}, { ca: this.ca.file, ...certificate }));
    this.#clients.push(client);
    return client;
  }

  async reload(expected: RegExp, { tls, ...more }: { readonly tls?: object; readonly auth?: object }): Promise<string> {
    const config = { ...this.config, ...more, tls: { ...this.config.tls, ...tls } };
    await writeFile(join(this.home.path, 's2cs.conf'), JSON.stringify(config));
    return await this.daemon.reload(expected);
  }

  /** The codes with which the daemon rejected callers during authentication. */
  async refusals(): Promise<ReadonlySet<string>> {
    const lines = (await readFile(join(this.home.path, 'audit.jsonl'), 'utf8')).trim().split('\n');
    const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const refused = told.filter(({ action }) => action === 'authenticate');
    return new Set(refused.map(({ decision, code }) => [decision, code].join(' ')));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** A stream to an echo server and a connection through it. */
async function flow(client: ControlClient, target: string) {
  const uid = randomUUID();
  const [{ listeners }] = await Promise.all([
    client.req({ uid, role: 'PROD', numConn: 1 }, LIMITS),
    client.hello({ uid, role: 'PROD', prodListeners: [target] }, LIMITS),
  ]);
  await client.update(uid, 'PROD', [target], LIMITS);
  const data = await dial(parseAddress(listeners[0] ?? ''));
  data.write('1');
  assert.is(await read(data, 2), 'a1');
  const watch = client.watch(uid);
  assert.not((await watch.next()).done);
  return { uid, data, watch };
}

/** The error code of a call; empty on success. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return '';
  } catch (error) {
    if (SciStreamError.is(error)) return error.code;
    throw error;
  }
}

s(
  'only certificates of the new CA are accepted, also on existing connections, and data keeps flowing',
  async ({ home }) => {
    await using site = await Site.start(home);
    await using sink = await tcpServer(named('a'));
    const before = site.client(site.alice);
    const { uid, data, watch } = await flow(before, formatAddress(sink.address));
    const next = await TestAuthority.make(home.path, 'next');
    const renewed = await next.issue('alice');
    assert.is(await codeOf(site.client(renewed).whoAmI(LIMITS)), 'SCI_CERTIFICATE_UNTRUSTED');

    await site.reload(IN_FORCE, { tls: { clientCa: next.file } });
    assert.is(await codeOf(site.client(site.alice).whoAmI(LIMITS)), 'SCI_CERTIFICATE_UNTRUSTED');
    assert.is(await codeOf(before.release(uid, LIMITS)), 'SCI_CERTIFICATE_UNTRUSTED');
    const after = site.client(renewed);
    assert.is((await after.get(uid, LIMITS)).owner, 'aps:alice');
    data.write('2');
    assert.is(await read(data, 1), '2');
    assert.is(site.daemon.child.exitCode, null);
    const [end] = await Promise.all([watch.next(), after.release(uid, LIMITS)]);
    assert.not(end.done, 'the open watch reports the end');
    data.destroy();
    assert.equal([...(await site.refusals())], ['refused SCI_CERTIFICATE_UNTRUSTED']);
  },
);

s('a revoked certificate is rejected and allocates nothing; other callers are not affected', async ({ home }) => {
  await using site = await Site.start(home);
  await using sink = await tcpServer(named('a'));
  const alice = site.client(site.alice);
  const bob = site.client(site.bob);
  const { uid, data } = await flow(alice, formatAddress(sink.address));
  const shown = (await home.json('cert', 'show', site.alice.cert)) as { readonly fingerprint: string };
  const auth = [{ use: 'certificate', issuer: 'aps', admins: ['bob'], revoked: [shown.fingerprint] }];
  assert.match(await site.reload(NOTHING_CHANGED, { auth: [{ ...auth[0], revoked: ['alice'] }] }), /revoked/);
  assert.is(await codeOf(alice.get(uid, LIMITS)), '');

  await site.reload(IN_FORCE, { auth });
  const request = { uid: randomUUID(), role: 'PROD', numConn: 1 };
  assert.is(await codeOf(alice.req(request, LIMITS)), 'SCI_CERTIFICATE_REVOKED');
  assert.is(await codeOf(site.client(site.alice).release(uid, LIMITS)), 'SCI_CERTIFICATE_REVOKED');
  const { streams, gateways } = await bob.describe(LIMITS);
  assert.equal([streams, gateways[0]?.portsInUse], [1, 1], 'only the existing stream');
  data.write('2');
  assert.is(await read(data, 1), '2');
  assert.equal([...(await site.refusals())], ['refused SCI_CERTIFICATE_REVOKED']);
  await bob.release(uid, LIMITS);
  data.destroy();
  await site.reload(IN_FORCE, {});
  assert.is(await codeOf(alice.get(uid, LIMITS)), '');
});

s.run();
