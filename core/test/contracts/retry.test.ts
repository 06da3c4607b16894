/** Retries: who decides, pauses, deadline and abort. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { backOff, retry } from '@scistream/core';

const retries = suite('retries');

/** An attempt that fails the given number of times with `failure N`, then returns its arguments of all calls. */
function failing(times: number): { readonly attempt: (leftMs: number) => Promise<number[]>; readonly seen: number[] } {
  const seen: number[] = [];
  const attempt = async (leftMs: number): Promise<number[]> => {
    if (seen.push(leftMs) <= times) throw new Error(`failure ${seen.length}`);
    return seen;
  };
  return { attempt, seen };
}

const failure = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', String);

retries('an attempt that succeeds is made once, without a deadline or with the whole time', async () => {
  const pauseMs = (): number => assert.unreachable() as never;
  assert.equal(await retry(failing(0).attempt, { pauseMs }), [Infinity]);
  assert.equal(await retry(failing(0).attempt, { pauseMs, timeoutMs: 0 }), [0]);
});

retries('the caller decides about errors of every kind, and sees the number of failures', async () => {
  const told: unknown[] = [];
  const errors = [new TypeError('a'), new RangeError('b'), new Error('c')];
  const attempt = async (): Promise<string> => {
    const error = errors[told.length];
    if (error) throw error;
    return 'done';
  };
  const pauseMs = (error: unknown, failures: number): number => {
    assert.is(error, errors[told.length]);
    assert.is(failures, told.push(error));
    return 0;
  };
  assert.is(await retry(attempt, { pauseMs }), 'done');
  assert.is(told.length, 3);
});

retries('no pause ends the retries with the last error', async () => {
  const { attempt, seen } = failing(9);
  const pauses = [0, 1];
  assert.is(await failure(retry(attempt, { pauseMs: (_, failures) => pauses[failures - 1] })), 'Error: failure 3');
  assert.is(seen.length, 3);
});

retries('each pause is kept, and the next attempt gets the rest of the time', async () => {
  const began = performance.now();
  const seen = await retry(failing(2).attempt, { pauseMs: (_, failures) => 20 * failures, timeoutMs: 60_000 });
  // A timer may fire up to 1 ms early.
  assert.ok(performance.now() - began >= 58);
  assert.is(seen[0], 60_000);
  assert.ok(Number(seen[1]) <= 60_000 - 19 && Number(seen[2]) <= 60_000 - 58);
});

retries('a pause that exceeds the deadline is not made', async () => {
  const { attempt, seen } = failing(9);
  assert.is(await failure(retry(attempt, { pauseMs: () => 3_600_000, timeoutMs: 60_000 })), 'Error: failure 1');
  assert.equal(seen, [60_000]);
});

retries('an attempt never gets less than 1 ms, which would mean no deadline', async () => {
  const { attempt, seen } = failing(1);
  // The deadline passes during the pause, because this process is busy.
  const busy = (): number => {
    const end = performance.now() + 30;
    setImmediate(() => {
      while (performance.now() < end);
    });
    return 5;
  };
  await retry(attempt, { pauseMs: busy, timeoutMs: 20 });
  assert.equal(seen, [20, 1]);
});

retries('an abort ends a pause immediately with its reason', async () => {
  const { attempt, seen } = failing(9);
  const stop = new AbortController();
  const pauseMs = (): number => {
    setImmediate(() => stop.abort(new Error('enough')));
    return 3_600_000;
  };
  assert.is(await failure(retry(attempt, { pauseMs, signal: stop.signal })), 'Error: enough');
  assert.is(seen.length, 1);
});

retries('an abort prevents the first attempt, and any attempt after one that fails', async () => {
  const { attempt, seen } = failing(9);
  const pauseMs = (): number => assert.unreachable() as never;
  const aborted = AbortSignal.abort(new Error('enough'));
  assert.is(await failure(retry(attempt, { pauseMs, signal: aborted })), 'Error: enough');
  assert.is(seen.length, 0);
  const stop = new AbortController();
  const last = (): Promise<never> => {
    stop.abort(new Error('enough'));
    return Promise.reject(new Error('failure'));
  };
  assert.is(await failure(retry(last, { pauseMs, signal: stop.signal })), 'Error: enough');
});

retries('an abort does not lose the result of an attempt that succeeds', async () => {
  const stop = new AbortController();
  const attempt = async (): Promise<string> => {
    stop.abort();
    return 'made';
  };
  assert.is(await retry(attempt, { pauseMs: () => 0, signal: stop.signal }), 'made');
});

retries('a pause holds the process only by default', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  for (const [ref, holds] of [
    [undefined, 1],
    [true, 1],
    [false, 0],
  ] as const) {
    const stop = new AbortController();
    const before = timers();
    const options = { pauseMs: () => 3_600_000, signal: stop.signal, ...(ref === undefined ? {} : { ref }) };
    const waiting = failure(retry(failing(9).attempt, options));
    await new Promise((resolve) => setImmediate(resolve));
    assert.is(timers() - before, holds);
    stop.abort();
    await waiting;
  }
});

retries('the back-off doubles up to its maximum', () => {
  const pauses = [1, 2, 3, 4, 5, 6, 2_000].map((failures) => backOff(failures, 200, 5_000));
  assert.equal(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  assert.is(backOff(1, 500, 100), 100);
});

retries.run();
