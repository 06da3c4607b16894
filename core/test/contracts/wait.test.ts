/** Deadlines and locks. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { poll, within } from '@scistream/core';
import { KeyedLock } from '@scistream/core/internal';
import { eventually } from '@scistream/core/testing';

const waiting = suite('waiting');

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const failure = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', String);

waiting('poll returns the first value other than undefined', async () => {
  for (const value of [0, false, '', null]) {
    let tries = 0;
    const attempt = (): unknown => ((tries += 1) < 3 ? undefined : value);
    assert.is(await poll(attempt, { timeoutMs: 5_000, intervalMs: 1 }, () => new Error('late')), value);
    assert.is(tries, 3);
  }
});

waiting('poll continues after errors and passes the last one to onTimeout', async () => {
  let tries = 0;
  const attempt = async (): Promise<undefined> => {
    throw new Error(`try ${(tries += 1)}`);
  };
  const message = await failure(
    poll(attempt, { timeoutMs: 500, intervalMs: 100 }, (last) => new Error(`late: ${String(last)}`)),
  );
  assert.ok(tries > 1);
  assert.is(message, `Error: late: Error: try ${tries}`);
});

waiting('poll makes one attempt without time, and rejects when its signal aborts', async () => {
  assert.is(
    await poll(
      () => 'first',
      { timeoutMs: 0 },
      () => new Error('late'),
    ),
    'first',
  );
  const stop = new AbortController();
  const polling = poll(
    () => undefined,
    { timeoutMs: 60_000, intervalMs: 1, signal: stop.signal },
    () => new Error('x'),
  );
  stop.abort(new Error('enough'));
  assert.is(await failure(polling), 'Error: enough');
});

waiting('within settles like a promise that is in time, and ignores a late one', async () => {
  const late = (): Error => new Error('late');
  assert.is(await within(Promise.resolve('value'), 5_000, late), 'value');
  assert.is(await failure(within(Promise.reject(new Error('own')), 5_000, late)), 'Error: own');
  // An unhandled late rejection would end this process.
  const slow = sleep(30).then(() => Promise.reject(new Error('too late')));
  assert.is(await failure(within(slow, 5, late)), 'Error: late');
  await slow.catch(() => undefined);
});

waiting('KeyedLock runs one function per key at a time, also after errors, and keys in parallel', async () => {
  const lock = new KeyedLock();
  const events: string[] = [];
  const gates = new Map<string, () => void>();
  const work = (key: string, name: string): Promise<string> =>
    lock.run(key, async () => {
      events.push(`begin ${name}`);
      await new Promise<void>((resolve) => gates.set(name, resolve));
      events.push(`end ${name}`);
      if (name === 'a1') throw new Error(name);
      return name;
    });
  const open = (name: string): Promise<void> => eventually(() => (gates.get(name) ?? (() => assert.unreachable()))());
  const results = [work('a', 'a1'), work('a', 'a2'), work('b', 'b1')].map((each) => each.catch(String));
  await open('b1');
  assert.is(await results[2], 'b1', 'another key does not wait');
  assert.equal(events, ['begin a1', 'begin b1', 'end b1']);
  await open('a1');
  await open('a2');
  assert.equal(await Promise.all(results), ['Error: a1', 'a2', 'b1']);
  assert.equal(events.slice(3), ['end a1', 'begin a2', 'end a2']);
});

waiting.run();
