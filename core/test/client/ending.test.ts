/** The remaining time of a stream that ends soon. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endsInMs } from '@scistream/core/client';

const s = suite('ending');

const NOW = new Date('2026-12-01T12:00:00.000Z');

s('is known in the last 10 minutes', () => {
  const left = (expiresAt: string) => endsInMs({ state: 'streaming', expiresAt }, NOW);
  assert.is(left('2026-12-01T12:10:00.001Z'), undefined);
  assert.is(left('2026-12-01T12:10:00.000Z'), 600_000);
  assert.is(left('2026-12-01T12:00:00.001Z'), 1);
  assert.is(left('2026-12-01T12:00:00.000Z'), undefined);
  assert.is(left(''), undefined);
});

s('is unknown for a stream that has ended or is ending', () => {
  for (const state of ['failed', 'releasing', 'released'] as const) {
    assert.is(endsInMs({ state, expiresAt: '2026-12-01T12:05:00.000Z' }, NOW), undefined);
  }
});

s.run();
