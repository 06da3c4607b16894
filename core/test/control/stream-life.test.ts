/** The life table of a stream: every pair of event and state, and what can be reached. No stream, no gateway. */
import 'reflect-metadata';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { EVENTS, LIFE, next, STATES, type LifeEvent, type LifeTable, type StreamState } from '@scistream/core/internal';

const s = suite('stream life');

const UID = '11111111-2222';
const FIRST: StreamState = 'reserving';
const FINAL: readonly StreamState[] = ['released', 'failed'];
const states = Object.keys(STATES) as StreamState[];
const events = Object.keys(EVENTS) as LifeEvent[];

/**
 * What each event means in each state: `next state/action`, an error without its SCI_, `-` for ignored.
 * Written by hand: a change of the table has to be made here too.
 */
const EXPECTED = `
event      reserving          waiting              provisioned         updating                active              releasing         released      failed
reserved   waiting/           BUG                  BUG                 BUG                     BUG                 BUG               BUG           BUG
hello      BUG                waiting/start        -                   -                       -                   STREAM_STATE      STREAM_STATE  STREAM_FAILED
started    BUG                provisioned/answer   BUG                 BUG                     BUG                 BUG               BUG           BUG
update     STREAM_STATE       STREAM_STATE         updating/setTargets updating/setTargets     updating/setTargets STREAM_STATE      STREAM_STATE  STREAM_FAILED
updated    BUG                BUG                  BUG                 active/                 BUG                 BUG               BUG           BUG
reverted   BUG                BUG                  BUG                 active/                 BUG                 BUG               BUG           BUG
cleared    BUG                BUG                  BUG                 provisioned/            BUG                 BUG               BUG           BUG
unsettled  BUG                BUG                  BUG                 updating/retry          BUG                 BUG               BUG           BUG
settle     BUG                BUG                  -                   updating/settle         -                   -                 -             -
move       STREAM_STATE       STREAM_STATE         provisioned/move    STREAM_STATE            active/move         STREAM_STATE      STREAM_STATE  STREAM_STATE
moved      BUG                BUG                  provisioned/watch   BUG                     active/watch        BUG               BUG           BUG
left       BUG                BUG                  provisioned/        updating/               active/             releasing/        -             -
restarted  BUG                BUG                  provisioned/        updating/               active/             -                 -             -
release    releasing/release  releasing/release    releasing/release   releasing/release       releasing/release   releasing/release -             -
fail       releasing/release  releasing/release    releasing/release   releasing/release       releasing/release   releasing/release -             -
discard    failed/end         BUG                  BUG                 BUG                     BUG                 BUG               BUG           -
released   BUG                BUG                  BUG                 BUG                     BUG                 released/end      BUG           BUG
failed     BUG                BUG                  BUG                 BUG                     BUG                 failed/end        BUG           BUG
resume     reserving/fail     waiting/awaitHello   provisioned/recover updating/recoverUpdate  active/recover      releasing/release BUG           BUG
`;

/** What the table answers, as EXPECTED writes it. */
function answer(event: LifeEvent, state: StreamState): string {
  try {
    const step = next(event, { uid: UID, state });
    return step ? `${step.to}/${step.action ?? ''}` : '-';
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    assert.ok(error.message.includes(UID) && error.message.includes(state) && error.message.includes(event));
    return error.code.replace('SCI_', '');
  }
}

s('every event is accepted, ignored or rejected in every state as expected', () => {
  const [head = [], ...rows] = EXPECTED.trim()
    .split('\n')
    .map((line) => line.split(/ +/));
  assert.equal(head.slice(1), states);
  assert.equal(
    rows.map(([event]) => event),
    events,
  );
  for (const [event, ...cells] of rows) {
    const answers = states.map((state) => answer(event as LifeEvent, state));
    assert.equal(answers, cells, event);
  }
});

s('the error of a failed stream is part of the rejection', () => {
  const error = { code: 'SCI_PROXY_DIED', message: 'relay was killed', suggestions: [] } as const;
  assert.throws(() => next('update', { uid: UID, state: 'failed', error }), /relay was killed/);
});

/** The states that a table never leads to. */
function unreachable(table: LifeTable): StreamState[] {
  const reached = new Set<StreamState>([FIRST]);
  for (const state of reached) {
    for (const cells of Object.values(table)) {
      const cell = cells[state];
      if (cell && typeof cell === 'object' && 'to' in cell && cell.to) reached.add(cell.to);
    }
  }
  return states.filter((state) => !reached.has(state));
}

s('every state can be reached', () => {
  assert.equal(unreachable(LIFE), []);
  assert.equal(unreachable({ ...LIFE, started: {} }), ['provisioned', 'updating', 'active']);
  assert.equal(unreachable({ ...LIFE, released: {} }), ['released']);
});

s('every live state leads to a final one, and a final state is left by no event', () => {
  for (const state of states) {
    const step = events.flatMap((event) => (LIFE as LifeTable)[event][state] ?? []);
    const leaves = step.filter((cell) => typeof cell === 'object' && !('reject' in cell));
    if (FINAL.includes(state)) assert.equal(leaves, [], state);
    else assert.is(next('release', { uid: UID, state })?.to, 'releasing', state);
  }
  assert.equal([next('released', { uid: UID, state: 'releasing' })?.to], ['released']);
});

s.run();
