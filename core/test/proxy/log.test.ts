import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loggedRecently } from '@scistream/core';

const s = suite('log of a proxy');

const REJECTED = /rejected/;
/** The time as stunnel writes it in UTC. */
const time = (ageMs: number): string =>
  new Date(Date.now() - ageMs).toISOString().slice(0, 19).replaceAll('-', '.').replace('T', ' ');

s('only a line of the last minute describes the present', () => {
  const line = (ageMs: number, text: string): string => `${time(ageMs)} LOG4[ui]: ${text}`;
  const log = (...lines: string[]): boolean => loggedRecently(lines.join('\n'), REJECTED, true);
  assert.is(log(line(90_000, 'rejected'), line(1_000, 'other')), false);
  assert.is(log(line(90_000, 'rejected'), line(2_000, 'rejected'), line(1_000, 'other')), true);
  assert.is(log('rejected without a time'), false);
  assert.is(loggedRecently(line(1_000, 'rejected').replaceAll('.', '/'), REJECTED, true), true);
});

s.run();
