// needs: haproxy
// suite: full
import { availableParallelism } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, type Address, type PluginContext, type S2DSRequest } from '@scistream/core';
import {
  eventually,
  exchange,
  inProxyEnvironment,
  listener,
  named,
  withSupports,
  type ProxyEnvironment,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';

type Options = Parameters<typeof HaproxyOptions.parse>[0];

/** Not a multiple of the number of processes, so that they have different numbers of listeners. */
const LISTENERS = 5;
const PROCESSES = 3;
const PATIENCE_MS = 60_000;

const s = suite('haproxy with several processes');

const create =
  (options: Options) =>
  (context: PluginContext): HaproxyContainer =>
    new HaproxyContainer(context, HaproxyOptions.parse(options));

const processes = async (env: ProxyEnvironment): Promise<readonly number[]> =>
  (await env.runtime.list({})).flatMap(({ pid, status }) => (status === 'running' && pid !== undefined ? [pid] : []));

/** Five servers; each sends its name. */
const servers = (env: ProxyEnvironment): Promise<readonly Address[]> =>
  Promise.all(Array.from({ length: LISTENERS }, (_, i) => env.server(named(`${i}`))));

/** The name received at each listener. */
const heard = (request: S2DSRequest): Promise<readonly string[]> =>
  Promise.all(request.listeners.map((_, i) => exchange(listener(request, i), 'x'.repeat(i + 1))));

const expected = (names: readonly number[]): readonly string[] => names.map((name, i) => `${name}${'x'.repeat(i + 1)}`);

/** Bytes received at each listener. */
const counted = async (env: ProxyEnvironment, { uid }: S2DSRequest): Promise<readonly number[]> =>
  (await env.s2ds.status(uid)).listeners.map(({ bytesIn }) => bytesIn);

s('listeners keep their targets, counters and order when one process ends', () =>
  inProxyEnvironment({ create: create({ processes: PROCESSES }) }, async (env) => {
    const targets = await servers(env);
    const request = await env.start({ connections: LISTENERS });
    const { uid } = request;
    assert.is((await processes(env)).length, PROCESSES);
    await env.s2ds.updateTargets(uid, targets);
    assert.equal(await heard(request), expected([0, 1, 2, 3, 4]));
    await eventually(async () => assert.equal(await counted(env, request), [1, 2, 3, 4, 5]), PATIENCE_MS);

    const turned = targets.toReversed();
    await env.s2ds.updateTargets(uid, turned);
    assert.equal(await heard(request), expected([4, 3, 2, 1, 0]));
    await eventually(async () => assert.equal(await counted(env, request), [2, 4, 6, 8, 10]), PATIENCE_MS);

    env.restart();
    assert.is(await env.s2ds.adopt(request, turned), true);
    await env.s2ds.updateTargets(uid, turned);
    assert.equal(await counted(env, request), [2, 4, 6, 8, 10]);

    // The first has listeners 0 and 3. The runtime lists instances by name, which ends with their number.
    const states = await env.runtime.list({ [LABELS.uid]: uid });
    const first = states.find(({ name }) => name.endsWith('-0'));
    assert.ok(first?.pid);
    process.kill(first.pid, 'SIGKILL');
    await eventually(async () => assert.is((await env.s2ds.status(uid)).restarts, 1), PATIENCE_MS);
    await eventually(async () => assert.equal(await counted(env, request), [0, 4, 6, 0, 10]), PATIENCE_MS);
    assert.equal(await heard(request), expected([4, 3, 2, 1, 0]));
    await eventually(async () => assert.equal(await counted(env, request), [1, 6, 9, 4, 15]), PATIENCE_MS);
  }),
);

s('restarts are limited per process, so a stream whose processes all end twice keeps running', () =>
  inProxyEnvironment({ create: create({ processes: PROCESSES }) }, async (env) => {
    const { uid } = await env.start({ connections: LISTENERS });
    for (const restarts of [PROCESSES, 2 * PROCESSES]) {
      await env.kill(uid);
      await eventually(async () => {
        const status = await env.s2ds.status(uid);
        assert.equal([status.state, status.restarts], ['running', restarts]);
      }, PATIENCE_MS);
    }
  }),
);

s('running processes are adopted even if the configured number has changed', async () => {
  let options: Options = { processes: PROCESSES };
  await inProxyEnvironment({ create: (context) => create(options)(context) }, async (env) => {
    const targets = await servers(env);
    const request = await env.start({ connections: LISTENERS });
    await env.s2ds.updateTargets(request.uid, targets);
    const before = await processes(env);
    for (const number of [1, LISTENERS]) {
      options = { processes: number };
      env.restart();
      assert.is(await env.s2ds.adopt(request, targets), true);
      assert.equal(await processes(env), before);
      assert.equal(await heard(request), expected([0, 1, 2, 3, 4]));
    }
  });
});

s('all processes in master-worker mode apply new targets', () =>
  inProxyEnvironment(
    {
      create: (context) =>
        create({ processes: PROCESSES })({
          ...context,
          runtime: withSupports(context.runtime, { dial: false, inheritSockets: true }),
        }),
      holds: false,
    },
    async (env) => {
      const targets = await servers(env);
      const request = await env.start({ connections: LISTENERS });
      await env.s2ds.updateTargets(request.uid, targets);
      assert.equal(await heard(request), expected([0, 1, 2, 3, 4]));
      await env.s2ds.updateTargets(request.uid, targets.toReversed());
      assert.equal(await heard(request), expected([4, 3, 2, 1, 0]));
    },
  ),
);

s('the default number of processes exceeds neither cores nor listeners', async () => {
  for (const count of [1, LISTENERS])
    await inProxyEnvironment({ create: create({}) }, async (env) => {
      await env.start({ connections: count });
      assert.is((await processes(env)).length, Math.min(count, availableParallelism(), 4));
    });
});

s.run();
