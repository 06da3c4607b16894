/** What a call of plugin code may do to its caller: fail with the name of the plugin, within a deadline. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { S2DSException, SciStreamError, type Authenticator, type Identity, type S2DS } from '@scistream/core';
import {
  AuthenticatorChain,
  guard,
  makeGuarded,
  releasingLateCalls,
  S2DS_CALLS,
  type Author,
} from '@scistream/core/internal';
import { expectCode, testSpec } from '@scistream/core/testing';
import { gate, quietProxy } from '../support/plugin-package.js';

const s = suite('guard of plugin code');

const AUTHOR: Author = { kind: 'proxy', id: 'odd', source: 'odd-plugin' };
const REQUEST = { uid: 'stream-1', spec: testSpec, listeners: [] };
/** The rules of the contract with a deadline of 20 ms. */
const SOON = Object.fromEntries(
  Object.entries(S2DS_CALLS).map(([name, rule]) => [name, 'ms' in rule ? { ...rule, ms: 20 } : rule]),
) as typeof S2DS_CALLS;

const forever = (): Promise<never> => new Promise(() => undefined);
const guarded = (change: Partial<S2DS>): S2DS => guard(quietProxy(change), AUTHOR, SOON);

/** All calls with a deadline. */
const CALLS: Readonly<Record<string, (s2ds: S2DS) => Promise<unknown> | undefined>> = {
  start: (s2ds) => s2ds.start(REQUEST),
  updateTargets: (s2ds) => s2ds.updateTargets('stream-1', []),
  adopt: (s2ds) => s2ds.adopt(REQUEST, []),
  release: (s2ds) => s2ds.release('stream-1'),
  sweep: (s2ds) => s2ds.sweep?.(new Set()),
  status: (s2ds) => s2ds.status('stream-1'),
};

s('every method that never settles fails at its deadline, with its signal aborted', async () => {
  for (const [method, call] of Object.entries(CALLS)) {
    let signal: unknown;
    const hanging = (...args: unknown[]): Promise<never> => {
      signal = args.at(-1);
      return forever();
    };
    const error = await expectCode('SCI_PLUGIN_FAILED', call(guarded({ [method]: hanging })) ?? forever());
    assert.match(error.message, new RegExp(`odd-plugin.*odd.*${method}`));
    assert.ok(signal instanceof AbortSignal && signal.reason === error, method);
  }
});

s('every method that throws anything fails with the plugin, the method and the cause', async () => {
  const ended = (s2ds: S2DS): Promise<unknown> => s2ds.ended('stream-1');
  for (const [method, call] of Object.entries({ ...CALLS, ended })) {
    for (const cause of [new TypeError('no such thing'), 'text', undefined, null, 7]) {
      for (const fails of [async () => await Promise.resolve().then(() => raise(cause)), () => raise(cause)]) {
        const error = await expectCode('SCI_PLUGIN_FAILED', call(guarded({ [method]: fails })) ?? forever());
        assert.match(error.message, new RegExp(`odd-plugin.*odd.*${method}`));
        assert.is(error.cause, cause);
      }
    }
  }
});

function raise(cause: unknown): never {
  throw cause;
}

s('errors of SciStream and the reason of an aborted call pass unchanged', async () => {
  const ours = new S2DSException('SCI_PORT_TAKEN', 'Port 1 is taken.');
  const thrown = await guarded({ start: () => Promise.reject(ours) })
    .start(REQUEST)
    .catch((error: unknown) => error);
  assert.is(thrown, ours);
  const abort = new AbortController();
  const start = guarded({
    start: async (_request, signal) => {
      abort.abort(new Error('enough'));
      signal?.throwIfAborted();
    },
  }).start(REQUEST, abort.signal);
  assert.is(await start.catch((error: unknown) => error), abort.signal.reason);
});

s('a built-in part has the deadlines, and its own errors', async () => {
  const own = { ...AUTHOR, source: 'built-in' };
  const cause = new TypeError('a defect');
  const start = guard(quietProxy({ start: () => Promise.reject(cause) }), own, SOON).start(REQUEST);
  assert.is(await start.catch((error: unknown) => error), cause);
  await expectCode('SCI_BUG', guard(quietProxy({ start: forever }), own, SOON).start(REQUEST));
});

s('a part that cannot be created, or lacks a method, is not used', () => {
  const incomplete = { ...quietProxy(), status: undefined };
  const made: readonly (() => unknown)[] = [
    () => raise(new Error('no')),
    () => ({}),
    () => undefined,
    () => 'text',
    () => Promise.resolve(quietProxy()),
    () => incomplete,
  ];
  for (const make of made) {
    assert.throws(
      () => makeGuarded(AUTHOR, SOON, make as () => S2DS),
      (error: unknown) => SciStreamError.is(error) && error.code === 'SCI_PLUGIN_FAILED',
    );
  }
});

s('a frozen part, private fields and absent methods work as without the guard', async () => {
  class Private {
    readonly #state = 'running';
    get supports(): string {
      return this.#state;
    }
    status(): Promise<object> {
      return Promise.resolve({ state: this.#state });
    }
  }
  const s2ds = guard(Object.freeze(new Private()) as unknown as S2DS, AUTHOR, SOON);
  assert.equal([s2ds.supports, await s2ds.status('x'), 'sweep' in s2ds], ['running', { state: 'running' }, false]);
});

s('an authenticator that fails shows callers no reason, and does not keep others from accepting them', async () => {
  const author: Author = { kind: 'authenticator', id: 'ldap', source: 'ldap-plugin' };
  const authenticator = (authenticate: () => Promise<Identity>): Authenticator =>
    guard({ id: 'ldap', authenticate }, author, { authenticate: { signal: 1, ms: 20 } });
  const broken = authenticator(() => Promise.reject(new Error('bind as cn=admin password hunter2')));
  const caller = { token: 'x', peer: '192.0.2.1' };
  const error = await expectCode('SCI_PLUGIN_FAILED', new AuthenticatorChain([broken]).authenticate(caller));
  assert.not.match(error.message, 'hunter2');
  const other = authenticator(() => Promise.resolve({ subject: 'ann', issuer: 'x', admin: false }));
  assert.is((await new AuthenticatorChain([broken, other]).authenticate(caller)).subject, 'ann');
});

s('a release also undoes a start that finishes after it', async () => {
  const { passed, open } = gate();
  const calls: string[] = [];
  const s2ds = releasingLateCalls(
    quietProxy({
      start: async () => {
        await passed;
        calls.push('started');
      },
      release: () => {
        calls.push('released');
        open();
        return Promise.resolve();
      },
    }),
    AUTHOR,
  );
  const started = s2ds.start(REQUEST);
  await s2ds.release('stream-1');
  await started;
  assert.equal(calls, ['released', 'started', 'released']);
});

s('a release fails while a start has not returned, and succeeds afterwards', async () => {
  const { passed, open } = gate();
  const s2ds = releasingLateCalls(quietProxy({ start: () => passed }), AUTHOR, 20);
  const started = s2ds.start(REQUEST);
  await expectCode('SCI_PLUGIN_FAILED', s2ds.release('stream-1'));
  await s2ds.release('another-1');
  open();
  await started;
  await s2ds.release('stream-1');
});

s.run();
