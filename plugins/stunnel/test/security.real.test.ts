// needs: stunnel
// suite: full
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect, type ConnectionOptions } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  LABELS,
  SciStreamError,
  type Address,
  type ContainerRuntime,
  type Logger,
  type PluginContext,
} from '@scistream/core';
import {
  echo,
  eventually,
  exchange,
  expectCode,
  inProxyEnvironment,
  listener,
  named,
  temporaryDirectory,
  testCredentials,
  type ProxyEnvironment,
  type TestCredentials,
} from '@scistream/core/testing';
import { StunnelContainer, StunnelOptions } from '@scistream/plugin-stunnel';
import { startPair, startSide } from './pair.js';

const KEY = createHash('sha256').update('a key of this test').digest();
const OTHER_KEY = createHash('sha256').update('another one').digest();
const UID = '6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10';

const s = suite('security');
let credentials: TestCredentials;
let foreign: TestCredentials;
s.before(async () => {
  [credentials, foreign] = await Promise.all([testCredentials(), testCredentials()]);
});

const withStunnel = (
  options: object,
  run: (env: ProxyEnvironment) => Promise<void>,
  change: (context: PluginContext) => PluginContext = (context) => context,
): Promise<void> => {
  const create = (context: PluginContext): StunnelContainer =>
    new StunnelContainer(change(context), StunnelOptions.parse(options));
  return inProxyEnvironment({ create, holds: false }, run);
};

/** What a TLS client gets to read until the connection ends: nothing when it is refused. */
async function visit({ host, port }: Address, options: ConnectionOptions, text = 'hello'): Promise<string> {
  const socket = connect({ ...options, host, port, rejectUnauthorized: false });
  let got = '';
  const closed = new Promise<void>((done) => socket.once('close', () => done()));
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    got += String(chunk);
    if (got.endsWith(text)) socket.end();
  });
  socket.write(text);
  await closed;
  return got;
}

/** Connects without TLS and waits until that is refused. */
async function knock(address: Address): Promise<void> {
  const socket = connectTcp(address);
  socket.on('error', () => undefined).resume();
  socket.end('this is no TLS\r\n');
  await new Promise((done) => socket.once('close', done));
}

/** A target that counts who reaches it. */
async function counting(env: ProxyEnvironment): Promise<{ target: Address; count: () => number }> {
  let count = 0;
  const target = await env.server((socket) => {
    count += 1;
    named('a')(socket);
  });
  return { target, count: () => count };
}

const psk = (key: Buffer, identity: string, maxVersion: 'TLSv1.2' | 'TLSv1.3'): ConnectionOptions => ({
  pskCallback: () => ({ psk: key, identity }),
  checkServerIdentity: () => undefined,
  ciphers: maxVersion === 'TLSv1.2' ? 'PSK' : 'TLS_AES_128_GCM_SHA256',
  minVersion: maxVersion,
  maxVersion,
});

async function secretsFile(directory: string, lines: Record<string, Buffer>): Promise<string> {
  const path = join(directory, 'secrets');
  const text = Object.entries(lines).map(([identity, key]) => `${identity}:${key.toString('hex')}\n`);
  await writeFile(path, text.join(''), { mode: 0o600 });
  return path;
}

s('a stranger never reaches the target, and whoever has the certificate does', () =>
  withStunnel({}, async (env) => {
    const { target, count } = await counting(env);
    const prod = await startSide(env, 'inbound', credentials.inbound);
    await env.s2ds.updateTargets(prod.uid, [target]);
    const address = listener(prod);
    const own = { cert: credentials.outbound.certificate, key: credentials.outbound.key };
    const strange = { cert: foreign.outbound.certificate, key: foreign.outbound.key };
    const reflected = { cert: credentials.inbound.certificate, key: credentials.inbound.key };
    for (const options of [{}, strange, reflected, { ...own, maxVersion: 'TLSv1.2' as const }]) {
      assert.is(await visit(address, options), '');
    }
    await knock(address);
    assert.is(count(), 0);
    assert.is(await visit(address, own), 'ahello');
    assert.is(count(), 1);
  }),
);

s('the consumer side sends nothing to a server it cannot trust', () =>
  withStunnel({}, async (env) => {
    const { target, count } = await counting(env);
    const genuine = credentials.inbound;
    const servers = [{ ...foreign.inbound, ca: credentials.outbound.ca }, credentials.other];
    for (const tls of servers) {
      const prod = await startSide(env, 'inbound', tls);
      await env.s2ds.updateTargets(prod.uid, [target]);
      const cons = await startSide(env, 'outbound', credentials.outbound);
      await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
      const refused = await exchange(listener(cons), 'x').catch(() => 'refused');
      assert.is(refused, 'refused');
    }
    assert.is(count(), 0);
    const { address } = await startPair(env, target, { ...credentials, inbound: genuine });
    assert.is(await exchange(address, '1'), 'a1');
  }),
);

for (const logErrors of [false, true]) {
  s(`thousands of refused connections neither block it nor end a stream (logErrors: ${logErrors})`, () =>
    withStunnel({ logErrors }, async (env) => {
      const { prod, address } = await startPair(env, await env.server(named('a')), credentials);
      const lane = async (): Promise<void> => {
        for (let i = 0; i < 150; i += 1) await knock(listener(prod));
      };
      await Promise.all(Array.from({ length: 20 }, lane));
      assert.is(await exchange(address, '1'), 'a1');
      await env.s2ds.updateTargets(prod.uid, [await env.server(named('b'))]);
      assert.is(await exchange(address, '2'), 'b2');
      const [state] = await env.runtime.list({ [LABELS.uid]: prod.uid });
      assert.ok(state);
      await knock(listener(prod));
      const logged = async (): Promise<boolean> => (await env.runtime.logs(state, 10)).includes('SSL_accept');
      if (logErrors) await eventually(async () => assert.ok(await logged()));
      else assert.not.ok(await logged());
    }),
  );
}

s('a shared key encrypts streams without certificates, and only who has it gets in', async () => {
  await using scratch = await temporaryDirectory();
  const secrets = await secretsFile(scratch.path, { 'other-site': OTHER_KEY, 'my-site': KEY });
  await withStunnel({ psk: { secrets, identity: 'my-site' } }, async (env) => {
    assert.is(env.s2ds.supports.plain, true);
    const { target, count } = await counting(env);
    const { prod, address } = await startPair(env, target, undefined);
    assert.is(await exchange(address, '1'), 'a1');
    assert.is(count(), 1);
    const strangers: ConnectionOptions[] = [
      {},
      psk(OTHER_KEY, 'my-site', 'TLSv1.3'),
      // It stands in the file of the operators too, but is not the one this gateway was told to use.
      psk(OTHER_KEY, 'other-site', 'TLSv1.3'),
      psk(KEY, 'my-site', 'TLSv1.2'),
    ];
    for (const options of strangers) assert.is(await visit(listener(prod), options), '');
    assert.is(count(), 1);
    // Credentials of a stream come before the shared key.
    const encrypted = await startPair(env, target, credentials);
    assert.is(await visit(listener(encrypted.prod), psk(KEY, 'my-site', 'TLSv1.3')), '');
    assert.is(await exchange(encrypted.address, '1'), 'a1');
  });
});

s('sides with different shared keys exchange nothing', async () => {
  await using a = await temporaryDirectory();
  await using b = await temporaryDirectory();
  const options = async (directory: string, key: Buffer): Promise<object> => ({
    psk: { secrets: await secretsFile(directory, { site: key }), identity: 'site' },
  });
  const [mine, theirs] = await Promise.all([options(a.path, KEY), options(b.path, OTHER_KEY)]);
  await withStunnel(mine, async (near) => {
    await withStunnel(theirs, async (far) => {
      const { target, count } = await counting(far);
      const prod = await startSide(far, 'inbound', undefined);
      await far.s2ds.updateTargets(prod.uid, [target]);
      const cons = await startSide(near, 'outbound', undefined);
      await near.s2ds.updateTargets(cons.uid, [listener(prod)]);
      assert.is(await exchange(listener(cons), 'x').catch(() => 'refused'), 'refused');
      assert.is(count(), 0);
    });
  });
});

s('a key that is too short is refused without being shown', async () => {
  await using scratch = await temporaryDirectory();
  const secrets = join(scratch.path, 'secrets');
  await writeFile(secrets, 'site:fifteen-letter\n', { mode: 0o600 });
  await withStunnel({ psk: { secrets, identity: 'site' } }, async (env) => {
    const error: unknown = await startSide(env, 'inbound', undefined).catch((reason: unknown) => reason);
    assert.ok(SciStreamError.is(error));
    assert.is(error.code, 'SCI_PROXY_CONFIG_INVALID');
    assert.not.match(JSON.stringify(error), 'fifteen');
  });
});

s('tunnels of the Python program work where that is asked for, with a warning at every start', async () => {
  const warnings: unknown[] = [];
  const warned = (log: Logger): Logger => ({ ...log, warn: (fields: object) => void warnings.push(fields) });
  await withStunnel(
    { psk: { compatibility: true } },
    async (env) => {
      const prod = await startSide(env, 'inbound', undefined, { uid: UID });
      await env.s2ds.updateTargets(prod.uid, [await env.server(echo)]);
      assert.equal(warnings, [{ uid: UID, role: 'inbound' }]);
      const key = Buffer.from(UID.replaceAll('-', ''), 'hex');
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        assert.is(await visit(listener(prod), psk(key, 'client1', version)), 'hello', version);
        assert.is(await visit(listener(prod), psk(OTHER_KEY, 'client1', version)), '', version);
        assert.is(await visit(listener(prod), { maxVersion: version }), '', version);
      }
      const cons = await startSide(env, 'outbound', undefined);
      await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
      assert.is(await exchange(listener(cons), 'x').catch(() => 'refused'), 'refused', 'another uid, another key');
    },
    (context) => ({ ...context, log: warned(context.log) }),
  );
});

s('no secret is in the arguments or the log', () =>
  withStunnel({}, async (env) => {
    const { prod, address } = await startPair(env, await env.server(named('a')), credentials);
    assert.is(await exchange(address, '1'), 'a1');
    const [state] = await env.runtime.list({ [LABELS.uid]: prod.uid });
    assert.ok(state?.pid);
    const seen = [await readFile(`/proc/${state.pid}/cmdline`, 'utf8'), await env.runtime.logs(state, 1_000)];
    const secret = credentials.inbound.key.split('\n')[1] ?? '';
    assert.ok(secret.length > 20);
    for (const text of seen) assert.not.ok(text.includes(secret));
  }),
);

/** The same runtime, from which less is expected: as one with containers. */
const limited = (runtime: ContainerRuntime, supports: Partial<ContainerRuntime['supports']>): ContainerRuntime =>
  new Proxy(runtime, {
    get: (target, key) => {
      if (key === 'supports') return { ...target.supports, ...supports };
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });

s('where sockets cannot be inherited, targets change and connections stay, and nothing else is promised', () =>
  withStunnel(
    {},
    async (env) => {
      assert.is(env.s2ds.supports.liveRetarget, false);
      const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
      const { prod, address } = await startPair(env, a, credentials);
      for (let i = 0; i < 4; i += 1) {
        await env.s2ds.updateTargets(prod.uid, [i % 2 ? a : b]);
        assert.is(await exchange(address, '!'), i % 2 ? 'a!' : 'b!');
      }
    },
    (context) => ({ ...context, runtime: limited(context.runtime, { inheritSockets: false }) }),
  ),
);

s('where programs come out of images, one must be configured', () =>
  withStunnel(
    {},
    async (env) => {
      await expectCode('SCI_IMAGE_NOT_FOUND', startSide(env, 'inbound', credentials.inbound));
      await eventually(() => env.expectNothingLeft());
    },
    (context) => ({ ...context, runtime: limited(context.runtime, { images: true }) }),
  ),
);

s.run();
