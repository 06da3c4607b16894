import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { oldWorkersIn, progressOf } from '@scistream/plugin-haproxy/internal';

const s = suite('master');

const started = ['[NOTICE]   (1) : New worker (8) forked', '[NOTICE]   (1) : Loading success.'];

/** The output of HAProxy 2.6 and 3.0, in this order. */
const reload = (old: number, next: number): string[] => [
  '[NOTICE]   (1) : Reloading HAProxy',
  `[WARNING]  (${old}) : Proxy f0 stopped (cumulated conns: FE: 0, BE: 0).`,
  `[WARNING]  (${old}) : Proxy f1 stopped (cumulated conns: FE: 0, BE: 0).`,
  `[NOTICE]   (1) : New worker (${next}) forked`,
  '[NOTICE]   (1) : Loading success.',
];
const failed = ['[NOTICE]   (1) : Reloading HAProxy', '[WARNING]  (1) : Loading failure!'];

/** The log as returned by a runtime: only its last lines. */
const tail = (lines: readonly string[], count = 100): string => lines.slice(-count).join('\n');

s('the progress of a reload follows the log', () => {
  const before = tail(started);
  const lines = [...started, ...reload(8, 9)];
  const seen = lines.slice(1).map((_, i) => progressOf(before, tail(lines.slice(0, i + 2)), 2));
  assert.equal(seen, ['none', 'begun', 'begun', 'begun', 'begun', 'done']);
});

s('a reload waits for an old worker that still listens, but not for one that has ended', () => {
  const before = tail(started);
  const lines = [...started, ...reload(8, 9)].filter((line) => !line.includes('Proxy f1'));
  assert.is(progressOf(before, tail(lines), 2), 'begun');
  assert.is(
    progressOf(before, tail([...lines, '[WARNING]  (1) : Former worker (8) exited with code 0 (Exit)']), 2),
    'done',
  );
});

s('workers that were replaced and have not ended are counted', () => {
  const lines = [...started, ...reload(8, 9), ...reload(9, 10)];
  assert.equal(oldWorkersIn(tail(lines)), ['8', '9']);
  assert.equal(oldWorkersIn(tail([...lines, '[WARNING]  (1) : Former worker (8) exited with code 0 (Exit)'])), ['9']);
});

s('messages of an earlier reload do not count', () => {
  const lines = [...started, ...failed, ...reload(8, 9)];
  assert.is(progressOf(tail(lines), tail(lines), 2), 'none');
  assert.is(progressOf(tail(lines), tail([...lines, ...failed]), 2), 'failed');
  assert.is(progressOf(tail(lines), tail([...lines, ...reload(9, 10)]), 2), 'done');
});

s('an earlier reload in progress is not mistaken for the requested one', () => {
  const first = [...started, ...reload(8, 9)];
  const before = tail(first.slice(0, -2));
  assert.is(progressOf(before, tail(first), 2), 'none');
  assert.is(progressOf(before, tail([...first, ...reload(9, 10)]), 2), 'done');
});

s('many reloads are tracked in a log that shows only its last lines', () => {
  let lines = started;
  for (let worker = 8; worker < 40; worker += 1) {
    const before = tail(lines, 12);
    lines = [...lines, ...reload(worker, worker + 1)];
    assert.is(progressOf(before, tail(lines, 12), 2), 'done');
  }
});

s.run();
