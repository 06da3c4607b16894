/** Calls that overlap: repeated, aborted or followed by a release, as after a lost connection. In memory. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SciStreamError } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { portsOf, SPEC, withSite } from '../support/gateway-site.js';

const s = suite('calls to a gateway');

const NEVER = new AbortController().signal;
const to = (port: number) => [{ host: '192.0.2.1', port }];

/** A promise that the test resolves. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: SciStreamError) => error.code,
  );

s('a start that is repeated while the first one runs gets the same answer', () =>
  withSite(async (site) => {
    const gateway = await site.open('shaky');
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    const slow = gate();
    site.runtime.started = () => slow.opened;
    const lost = new AbortController();
    const first = gateway.start(uid, NEVER);
    await eventually(() => assert.ok(site.runtime.calls.some((call) => call.startsWith('start'))));
    const others = [gateway.start(uid, lost.signal), gateway.start(uid, NEVER)].map(outcome);
    lost.abort();
    slow.open();
    await first;
    assert.is((await Promise.all(others))[1], 'done');
    assert.is((await gateway.status(uid)).state, 'running');
    assert.is(site.runtime.calls.filter((call) => call.startsWith('start')).length, 1);
    await gateway.release(uid);
    await gateway.close();
  }),
);

s('after updates that overlap, the proxy and the record have the last targets', () =>
  withSite(async (site) => {
    const gateway = await site.open('shaky');
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    await gateway.start(uid, NEVER);
    await gateway.updateTargets(uid, to(1), NEVER);
    const slow = gate();
    site.beforeRetarget = (port) => (port === 2 ? slow.opened : Promise.resolve());
    const first = gateway.updateTargets(uid, to(2), NEVER);
    // Two updates that their caller aborts while they wait, and the last one.
    const abort = [new AbortController(), new AbortController()];
    const givenUp = abort.map(({ signal }, i) => outcome(gateway.updateTargets(uid, to(3 + i), signal)));
    const last = gateway.updateTargets(uid, to(5), NEVER);
    for (const each of abort) each.abort();
    slow.open();
    await Promise.all([first, last, ...givenUp]);
    assert.equal(site.retargeted, [1, 2, 5]);
    await gateway.close();
    const { targets, inForce } = (await site.kept(uid)) ?? {};
    assert.equal([targets, inForce], [to(5), true]);
  }),
);

s('targets that the proxy rejects are not stored', () =>
  withSite(async (site) => {
    const gateway = await site.open('shaky');
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    await gateway.start(uid, NEVER);
    await gateway.updateTargets(uid, to(1), NEVER);
    site.beforeRetarget = (port) => (port === 2 ? Promise.reject(new Error('target rejected')) : Promise.resolve());
    await gateway.updateTargets(uid, to(2), NEVER).then(
      () => assert.unreachable('it was refused'),
      (error: unknown) => assert.match(String(error), /target rejected/),
    );
    assert.is(site.retargeted.at(-1), 1);
    await gateway.close();
    assert.equal((await site.kept(uid))?.targets, to(1));
  }),
);

s('a release waits for no other call, running or waiting, and aborts it', () =>
  withSite(async (site) => {
    const gateway = await site.open('shaky');
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    const slow = gate();
    site.runtime.started = () => slow.opened;
    const commands = [gateway.start(uid, NEVER), gateway.start(uid, NEVER), gateway.updateTargets(uid, to(1), NEVER)];
    const outcomes = commands.map(outcome);
    await eventually(() => assert.ok(site.runtime.calls.some((call) => call.startsWith('start'))));
    const released = gateway.release(uid);
    assert.equal(await Promise.all(outcomes), Array(3).fill('SCI_STREAM_RELEASED'));
    slow.open();
    await released;
    assert.is(await portsOf(gateway), 0);
    assert.equal(await site.runtime.list({}), []);

    // Calls for the old stream do not affect a new stream with the same uid.
    await gateway.reserve(uid, SPEC);
    await expectCode('SCI_STREAM_NOT_FOUND', gateway.status(uid));
    await gateway.start(uid, NEVER);
    assert.is((await gateway.status(uid)).state, 'running');
    await gateway.release(uid);
    await gateway.close();
  }),
);

s('a reservation during a release takes effect after it', () =>
  withSite(async (site) => {
    const gateway = await site.open('shaky');
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    await gateway.start(uid, NEVER);
    await Promise.all([gateway.release(uid), gateway.reserve(uid, SPEC)]);
    assert.equal(await site.runtime.list({}), []);
    assert.is(await portsOf(gateway), 2);
    await gateway.start(uid, NEVER);
    assert.is((await gateway.status(uid)).state, 'running');
    await gateway.release(uid);
    await gateway.close();
  }),
);

s('a failed reservation leaves nothing, and a repeated one succeeds', () =>
  withSite(async (site) => {
    const gateway = await site.open('steady');
    const uid = randomUUID();
    site.runtime.away = true;
    const failed = outcome(gateway.reserve(uid, SPEC));
    assert.is(await failed, 'SCI_RUNTIME_UNREACHABLE');
    await expectCode('SCI_STREAM_NOT_FOUND', gateway.status(uid));
    site.runtime.away = false;
    const both = await Promise.all([gateway.reserve(uid, SPEC), gateway.reserve(uid, SPEC)]);
    assert.equal(both[0], both[1]);
    await gateway.release(uid);
    assert.is(await portsOf(gateway), 0);
    await gateway.close();
  }),
);

s.run();
