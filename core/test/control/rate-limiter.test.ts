/** The limit of requests per caller. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { RateLimiter } from '@scistream/core/internal';

const limiter = suite('rate limiter');

/** A limit so low that nothing is refilled during a test: a burst of 2. */
const PER_SECOND = 0.2;

const codeOf = (work: () => void): string => {
  try {
    work();
    return 'none';
  } catch (error) {
    return SciStreamError.is(error) ? error.code : String(error);
  }
};

limiter('a caller may use its burst, and others have their own', () => {
  const exceeded: string[] = [];
  const limit = new RateLimiter(
    () => PER_SECOND,
    'requests',
    (key) => exceeded.push(key),
  );
  limit.take('a');
  limit.take('a');
  assert.is(
    codeOf(() => limit.take('a')),
    'SCI_RATE_LIMITED',
  );
  assert.is(
    codeOf(() => limit.take('a')),
    'SCI_RATE_LIMITED',
  );
  limit.take('b');
  // The excess is reported once.
  assert.equal(exceeded, ['a']);
  limit.giveBack('a');
  limit.take('a');
});

limiter('a busy caller stays limited while any number of others come', () => {
  const limit = new RateLimiter(
    () => PER_SECOND,
    'requests',
    () => undefined,
  );
  limit.take('busy');
  limit.take('busy');
  for (let i = 0; i < 25_000; i += 1) {
    limit.take(`other ${i}`);
    if (i % 1_000 === 0)
      assert.is(
        codeOf(() => limit.take('busy')),
        'SCI_RATE_LIMITED',
      );
  }
});

limiter.run();
