// needs: haproxy
// suite: full
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PluginContext } from '@scistream/core';
import {
  echo,
  eventually,
  exchange,
  expectCode,
  inProxyEnvironment,
  named,
  proxyContract,
  read,
  receiveAll,
  sendRandom,
  temporaryDirectory,
  testCredentials,
  type ProxyEnvironment,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { templateDirectory } from '@scistream/templates';
import { startSide, unreachable } from './support.js';

const MIB = 1024 * 1024;
const RELOADS = 20;

const s = suite('master and workers');

type Create = (context: PluginContext) => HaproxyContainer;

/** Where sockets are inherited nothing is ever refused; where they are not, workers hand them on. */
const create =
  (inheritSockets: boolean, options: Parameters<typeof HaproxyOptions.parse>[0] = {}): Create =>
  (context) =>
    new HaproxyContainer(
      { ...context, runtime: unreachable(context.runtime, inheritSockets) },
      HaproxyOptions.parse(options),
    );

for (const inherited of [true, false]) {
  const name = inherited ? 'haproxy -W, inherited sockets' : 'haproxy -W, own sockets';
  proxyContract({ name, test: s, create: create(inherited), holds: false });
}

/** How many workers of the only instance there are, old ones included. */
async function workers(env: ProxyEnvironment): Promise<number> {
  const [instance] = await env.runtime.list({});
  assert.ok(instance?.pid);
  const children = await readFile(`/proc/${instance.pid}/task/${instance.pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).length;
}

for (const inherited of [true, false]) {
  const sockets = inherited ? 'inherited' : 'own';
  s(`${RELOADS} reloads under load refuse, cut and lose nothing, ${sockets} sockets`, () =>
    inProxyEnvironment({ create: create(inherited), holds: false }, async (env) => {
      const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
      const streams = await env.server(echo);
      const { uid, address } = await env.startTo(streams);
      const long = await Promise.all([1, 2, 3].map(() => env.dial(address)));
      for (const socket of long) socket.write('?');
      for (const socket of long) assert.is(await read(socket, 1), '?');
      const flows = Promise.all(long.map((socket) => Promise.all([sendRandom(socket, 8 * MIB), receiveAll(socket)])));
      await env.s2ds.updateTargets(uid, [a]);
      let done = false;
      const visitor = async (): Promise<string[]> => {
        const replies: string[] = [];
        while (!done) replies.push(await exchange(address, '!'));
        return replies;
      };
      const visitors = Promise.allSettled([visitor(), visitor()]);
      try {
        for (let i = 0; i < RELOADS; i += 1) await env.s2ds.updateTargets(uid, [i % 2 ? a : b]);
      } finally {
        done = true;
      }
      const replies = (await visitors).flatMap((visits) => {
        if (visits.status === 'rejected') throw visits.reason;
        return visits.value;
      });
      assert.ok(replies.length > RELOADS);
      for (const reply of replies) assert.match(reply, /^[ab]!$/);
      assert.is((await env.s2ds.status(uid)).restarts, 0);
      for (const [sent, received] of await flows) assert.equal(received, sent);
      assert.is(await exchange(address, '!'), 'a!');
      await eventually(async () => assert.is(await workers(env), 1));
    }),
  );
}

s('an old worker lives exactly as long as its connections', () =>
  inProxyEnvironment({ create: create(false), holds: false }, async (env) => {
    const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
    const { uid, address } = await env.startTo(a);
    const old = await env.dial(address);
    assert.is(await read(old, 1), 'a');
    for (const target of [b, a, b, a]) await env.s2ds.updateTargets(uid, [target]);
    await eventually(async () => assert.is(await workers(env), 2));
    old.write('alive');
    assert.is(await read(old, 5), 'alive');
    old.destroy();
    await eventually(async () => assert.is(await workers(env), 1));
    const request = await env.s2ds.status(uid);
    assert.equal([request.state, request.restarts, request.listeners], ['running', 0, []]);
  }),
);

s('an encrypted stream keeps its connections over a reload', async () => {
  const credentials = await testCredentials();
  await inProxyEnvironment({ create: create(false), holds: false }, async (env) => {
    const inbound = await startSide(env, 'inbound', credentials.inbound);
    const outbound = await startSide(env, 'outbound', credentials.outbound);
    await env.s2ds.updateTargets(inbound.uid, [await env.server(named('a'))]);
    await env.s2ds.updateTargets(outbound.uid, [inbound.address]);
    const old = await env.dial(outbound.address);
    assert.is(await read(old, 1), 'a');
    await env.s2ds.updateTargets(inbound.uid, [await env.server(named('b'))]);
    await env.s2ds.updateTargets(outbound.uid, [inbound.address]);
    assert.is(await exchange(outbound.address, '!'), 'b!');
    const [sent, received] = await Promise.all([sendRandom(old, MIB), receiveAll(old)]);
    assert.equal(received, sent);
  });
});

s('a worker that cannot be loaded leaves the old one in charge, and the next update works', async () => {
  await using site = await temporaryDirectory();
  const ours = await readFile(join(templateDirectory('haproxy'), 'haproxy.cfg.njk'), 'utf8');
  // What the check does not see.
  const broken =
    '{% if listeners[0].target == "192.0.2.66:9" %}.if !defined(SCISTREAM_CHECK)\n nonsense\n.endif\n{% endif %}';
  await writeFile(join(site.path, 'haproxy.cfg.njk'), `${ours}\n${broken}\n`);
  await inProxyEnvironment({ create: create(false, { templates: site.path }), holds: false }, async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    await expectCode('SCI_PROXY_COMMAND_FAILED', env.s2ds.updateTargets(uid, [{ host: '192.0.2.66', port: 9 }]));
    assert.is(await exchange(address, '!'), 'a!');
    await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
    assert.is(await exchange(address, '!'), 'b!');
  });
});

s.run();
