/** The timer of a stream over times that exceed the longest timer of Node.js, 24.8 days. */
import { mock } from 'node:test';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { StreamTimer } from '@scistream/core/internal';

const s = suite('stream timer');

const DAY_MS = 86_400_000;

s.before.each(() => mock.timers.enable({ apis: ['setTimeout', 'Date'] }));
s.after.each(() => mock.timers.reset());

const inDays = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString();

s('expires after sixty days, and not earlier', () => {
  const timer = new StreamTimer();
  let expired = 0;
  timer.until(inDays(60), () => (expired += 1));
  for (let day = 0; day < 59; day += 1) mock.timers.tick(DAY_MS);
  assert.is(expired, 0);
  mock.timers.tick(DAY_MS + 1);
  assert.is(expired, 1);
  mock.timers.tick(60 * DAY_MS);
  assert.is(expired, 1);
});

s('does not expire after it was stopped, also between two parts of a long time', () => {
  const timer = new StreamTimer();
  timer.until(inDays(60), () => assert.unreachable());
  mock.timers.tick(30 * DAY_MS);
  timer.stop();
  mock.timers.tick(60 * DAY_MS);
});

s('a new time replaces the previous one', () => {
  const timer = new StreamTimer();
  const calls: string[] = [];
  timer.until(inDays(2), () => void calls.push('first'));
  timer.until(inDays(1), () => void calls.push('second'));
  mock.timers.tick(3 * DAY_MS);
  assert.equal(calls, ['second']);
});

s.run();
