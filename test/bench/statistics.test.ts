import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseSettings, UsageError } from './settings.js';
import { interleave, quantile, ratios, spread } from './statistics.js';

const s = suite('bench statistics');

s('a quantile lies between its neighbours in any order of values', () => {
  assert.is(quantile([4, 1, 3, 2], 0.5), 2.5);
  assert.is(quantile([7], 0.99), 7);
  assert.is(quantile([0, 10, 20, 30, 40], 0.95), 38);
});

s('quantiles of an empty list are an error', () => {
  assert.throws(() => quantile([], 0.5), /empty/);
});

s('a spread is the median with the extremes', () => {
  assert.equal(spread([9, 1, 5]), { median: 5, min: 1, max: 9 });
});

s('ratios are computed per round, not from the medians', () => {
  assert.equal(ratios([2, 30, 8], [1, 10, 2]), { median: 3, min: 2, max: 4 });
  assert.throws(() => ratios([1], [1, 2]), /rounds/);
});

s('every other round runs in reverse order, and results keep the order of the rounds', async () => {
  const order: string[] = [];
  const results = await interleave(['a', 'b', 'c'], 3, async (name, round) => {
    order.push(name);
    return `${name}${round}`;
  });
  assert.is(order.join(''), 'abccbaabc');
  assert.equal(results.get('b'), ['b0', 'b1', 'b2']);
});

s('parts run in a fixed order, and wrong flags are rejected', () => {
  assert.equal(parseSettings(['--only', 'soak,relay', '--rounds', '2']).parts, ['relay', 'soak']);
  for (const args of [['--only', 'relays'], ['--rounds', '0'], ['--seconds', '1.5'], ['--frobnicate']]) {
    assert.throws(
      () => parseSettings(args),
      (error: unknown) => error instanceof UsageError,
    );
  }
});

s.run();
