import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { drainingIn, readLog, reloadState } from '@scistream/plugin-nginx/internal';

/** The output of Nginx 1.22.1. */
const notice = (pid: number, text: string): string => `2026/11/22 20:10:32 [notice] ${pid}#${pid}: ${text}\n`;
const started = notice(10, 'start worker processes') + notice(10, 'start worker process 11');
const reloading = notice(10, 'signal 1 (SIGHUP) received from 9, reconfiguring') + notice(10, 'reconfiguring');
const next = notice(10, 'start worker processes') + notice(10, 'start worker process 12');
const leaves = notice(11, 'gracefully shutting down');

const s = suite('worker log');

const state = (before: string, now: string): string | undefined => reloadState(readLog(before), readLog(now));

s('a reload is done when the old worker has stopped accepting connections', () => {
  assert.is(state(started, started), undefined);
  assert.is(state(started, started + reloading), undefined);
  assert.is(state(started, started + reloading + next), undefined);
  assert.is(state(started, started + reloading + next + leaves), 'done');
});

s('a killed old worker has stopped accepting as well', () => {
  const killed = notice(10, 'worker process 11 exited on signal 9');
  assert.is(state(started, started + reloading + next + killed), 'done');
});

s('messages of an earlier reload do not count, and scrolled-out lines do not matter', () => {
  const before = started + reloading + next + leaves;
  assert.is(state(before, before), undefined);
  assert.is(state(before, before + reloading + notice(10, 'start worker process 13')), undefined);
  const now = notice(10, 'start worker process 13') + notice(12, 'gracefully shutting down');
  assert.is(state(before, now), 'done');
  const halves = [notice(10, 'start worker process 13'), notice(12, 'gracefully shutting down')];
  const seen = halves.reduce((earlier, half) => readLog(half, earlier), readLog(before));
  assert.is(reloadState(readLog(before), seen), 'done');
});

s('all of several workers must have stopped', () => {
  const now = started + notice(10, 'start worker process 12') + notice(10, 'start worker process 13');
  assert.is(state(started, now + leaves), undefined);
  assert.is(state(started, now + leaves + notice(14, 'gracefully shutting down')), 'done');
});

s('a rejected file is detected immediately', () => {
  const refusal = '2026/11/22 20:10:32 [emerg] 10#10: cannot load certificate "./certificate.pem"\n';
  assert.is(state(started, started + reloading + refusal), 'refused');
  assert.is(state(started + refusal, started + refusal), undefined);
});

s('text of a connection is not a notice of a worker', () => {
  const error = '2026/11/22 20:10:32 [error] 11#11: *1 connect() failed, upstream: "x: gracefully shutting down"\n';
  assert.is(readLog(error).retired.size, 0);
});

s('workers that have retired and not ended are draining', () => {
  const leaving = (pid: number): string => `2026/11/22 20:10:32 [notice] ${pid}#${pid}: gracefully shutting down\n`;
  const ended = '2026/11/22 20:10:33 [notice] 9#9: worker process 12 exited with code 0\n';
  assert.equal(drainingIn(readLog(leaving(12) + leaving(13))), ['12', '13']);
  assert.equal(drainingIn(readLog(ended, readLog(leaving(12) + leaving(13)))), ['13']);
});

s.run();
