/**
 * The life of a stream on one control server, as one table: state × event → next state and action.
 *
 * The machine asks the table what an event means in the present state; no other file decides by state. The diagram and the
 * table in docs/reference/stream-states.md are generated from this file (`npm run docs`).
 */
import { SciStreamError, type ErrorCode } from '../../contracts/errors.js';
import { isFinal, uidForOwner, type StreamRecord, type StreamState } from '../../contracts/stream.js';

/** The states, in the usual order, and what each means. */
export const STATES = {
  reserving: 'The gateway reserves the listeners.',
  waiting: 'The listeners are reserved. The request waits for HELLO.',
  provisioned: 'The proxy runs. The stream has no targets yet.',
  updating: 'An UPDATE is in progress, or the gateway has not confirmed which targets are in force.',
  active: 'The targets are set and the stream forwards data.',
  releasing: 'The gateway stops the proxy and frees the ports. A release that fails is retried.',
  released: 'The stream has ended and everything is freed. Final.',
  failed: 'The stream has ended because of an error. It keeps its ports until its owner releases it. Final.',
} as const satisfies Record<StreamState, string>;

/** The events, and when each occurs. */
export const EVENTS = {
  reserved: 'The gateway has reserved the listeners.',
  hello: 'HELLO arrives. It waits until the listeners are reserved.',
  started: 'The gateway has started the proxy.',
  update: 'UPDATE arrives.',
  updated: 'The gateway has set the new targets.',
  reverted: 'An update failed and the previous targets are in force.',
  cleared: 'The first update failed and no targets are set.',
  unsettled: 'An update failed and it is not known which targets are in force.',
  settle: 'The retry timer of an unsettled update expires.',
  move: 'An operator moves the stream to another gateway.',
  moved: 'The stream forwards data on its new gateway.',
  left: 'The gateway that the stream moved away from has freed everything.',
  restarted: 'The gateway has restarted a proxy of the stream.',
  release: 'The owner releases the stream, or its lifetime ends.',
  fail: 'HELLO is late, the client disconnects, the gateway reports an error, or the proxy fails permanently.',
  discard: 'The stream could not be stored, so nothing is reserved for it.',
  released: 'The gateway has freed everything after `release`.',
  failed: 'The gateway has freed everything after `fail`, except the ports of a stream that had targets.',
  resume: 'The control server restarts and finds the stream in its store.',
} as const;

/** The actions, and what the machine does for each after the next state is stored. */
export const ACTIONS = {
  awaitHello: 'continue the HELLO timeout',
  start: 'start the proxy',
  answer: 'answer the request and watch the proxy',
  setTargets: 'set the targets on the gateway',
  retry: 'retry after 3 s',
  settle: 'set the targets of the record again',
  move: 'set the stream up on the new gateway',
  watch: 'watch the proxy there',
  recover: 'watch the proxy again',
  recoverUpdate: 'watch the proxy again, then settle the update',
  fail: 'fail the stream',
  release: 'free everything on the gateway',
  end: 'remove the stream from the live streams',
} as const;

/** Something that happens to a stream. */
export type LifeEvent = keyof typeof EVENTS;

/** Something that the machine does because of an event. */
export type Action = keyof typeof ACTIONS;

/** An event that is accepted: the next state (absent: the same) and the action (absent: none). */
interface Accepted {
  readonly to?: StreamState;
  readonly action?: Action;
}

/** An event that a caller causes in the wrong state. */
interface Rejected {
  readonly reject: ErrorCode;
  readonly suggestion: string;
}

/** What an event means in one state. `ignore`: it changes nothing, and that is no error. */
export type Cell = Accepted | Rejected | 'ignore';

/** The rows of a whole table. A pair that is absent cannot occur: SCI_BUG. */
export type LifeTable = Readonly<Record<LifeEvent, Readonly<Partial<Record<StreamState, Cell>>>>>;

/** The same cell for several states. */
const each = <S extends StreamState, const C extends Cell>(states: readonly S[], cell: C): Record<S, C> =>
  Object.fromEntries(states.map((state) => [state, cell])) as Record<S, C>;

const reject = (code: ErrorCode, suggestion: string): Rejected => ({ reject: code, suggestion });

const NEW_STREAM = 'Create a new stream.';
const LATER = reject('SCI_STREAM_STATE', 'Retry when the stream is active.');
/** For a caller whose stream has ended. */
const ENDED = {
  releasing: reject('SCI_STREAM_STATE', NEW_STREAM),
  released: reject('SCI_STREAM_STATE', NEW_STREAM),
  failed: reject('SCI_STREAM_FAILED', NEW_STREAM),
} as const;
const FINAL = ['released', 'failed'] as const;
/** Every live state leads to `releasing`, and a release that failed starts over. */
const TO_RELEASING = {
  ...each(['reserving', 'waiting', 'provisioned', 'updating', 'active', 'releasing'], {
    to: 'releasing',
    action: 'release',
  }),
  ...each(FINAL, 'ignore'),
};

/** The table. */
export const LIFE = {
  reserved: { reserving: { to: 'waiting' } },
  hello: { waiting: { action: 'start' }, ...each(['provisioned', 'updating', 'active'], 'ignore'), ...ENDED },
  started: { waiting: { to: 'provisioned', action: 'answer' } },
  update: {
    ...each(['reserving', 'waiting'], reject('SCI_STREAM_STATE', 'Send HELLO first.')),
    ...each(['provisioned', 'updating', 'active'], { to: 'updating', action: 'setTargets' }),
    ...ENDED,
  },
  updated: { updating: { to: 'active' } },
  reverted: { updating: { to: 'active' } },
  cleared: { updating: { to: 'provisioned' } },
  unsettled: { updating: { action: 'retry' } },
  settle: { updating: { action: 'settle' }, ...each(['provisioned', 'active', 'releasing', ...FINAL], 'ignore') },
  move: {
    ...each(['reserving', 'waiting', 'updating'], LATER),
    ...each(['provisioned', 'active'], { action: 'move' }),
    ...each(['releasing', ...FINAL], reject('SCI_STREAM_STATE', NEW_STREAM)),
  },
  moved: each(['provisioned', 'active'], { action: 'watch' }),
  left: { ...each(['provisioned', 'updating', 'active', 'releasing'], {}), ...each(FINAL, 'ignore') },
  restarted: { ...each(['provisioned', 'updating', 'active'], {}), ...each(['releasing', ...FINAL], 'ignore') },
  release: TO_RELEASING,
  fail: TO_RELEASING,
  discard: { reserving: { to: 'failed', action: 'end' }, failed: 'ignore' },
  released: { releasing: { to: 'released', action: 'end' } },
  failed: { releasing: { to: 'failed', action: 'end' } },
  resume: {
    reserving: { action: 'fail' },
    waiting: { action: 'awaitHello' },
    ...each(['provisioned', 'active'], { action: 'recover' }),
    updating: { action: 'recoverUpdate' },
    releasing: { action: 'release' },
  },
} as const satisfies LifeTable;

type CellOf<E extends LifeEvent> = (typeof LIFE)[E][keyof (typeof LIFE)[E]];

/** What the machine provides for an event: exactly the actions that the table has for it. */
export type ActionsOf<E extends LifeEvent> = Readonly<
  Record<Extract<CellOf<E>, { readonly action: Action }>['action'], () => Promise<unknown> | void>
>;

/** What follows from an accepted event. */
export interface Step {
  readonly to: StreamState;
  readonly action: Action | undefined;
}

/**
 * Looks up what an event means for a stream.
 * @returns undefined when the event is ignored
 * @throws SCI_STREAM_STATE, SCI_STREAM_FAILED as the table says; SCI_BUG for an event that cannot occur in this state
 */
export function next(
  event: LifeEvent,
  stream: Pick<StreamRecord, 'uid' | 'requestedUid' | 'state' | 'error'>,
): Step | undefined {
  const { uid, state } = stream;
  const cell = (LIFE as LifeTable)[event][state];
  if (cell === 'ignore') return undefined;
  if (!cell) throw new SciStreamError('SCI_BUG', `Event "${event}" is not possible while stream ${uid} is ${state}.`);
  if ('reject' in cell) throw rejection(event, stream, cell);
  return { to: cell.to ?? state, action: cell.action };
}

function rejection(
  event: LifeEvent,
  stream: Pick<StreamRecord, 'uid' | 'requestedUid' | 'state' | 'error'>,
  { reject: code, suggestion }: Rejected,
): SciStreamError {
  const { state, error } = stream;
  const reason = error ? ` (${error.message})` : '';
  return new SciStreamError(code, `Stream ${uidForOwner(stream)} is ${state}${reason} and rejects ${event}.`, {
    suggestions: [suggestion],
  });
}

/** The reason of a stream that ends because its owner releases it. */
export const released = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_RELEASED', `Stream ${uid} was released.`);

/** The reason of a request that ends, or is rejected, because the control server stops. */
export const stopping = (): SciStreamError =>
  new SciStreamError('SCI_SHUTTING_DOWN', 'The control server is stopping.', {
    suggestions: ['Retry when it has restarted.'],
  });

/** The error for a caller who updates a stream that is no longer live. */
export const ended = (record: StreamRecord): SciStreamError => rejection('update', record, ENDED.released);

/** The event of an update that failed without effect. @param before The record before that update. */
export function undoEvent(before: Pick<StreamRecord, 'state' | 'targets'>): 'unsettled' | 'reverted' | 'cleared' {
  // The result of an earlier update is still unknown.
  if (before.state === 'updating') return 'unsettled';
  return before.targets.length > 0 ? 'reverted' : 'cleared';
}

/** Whether the request of a stream still waits for HELLO. */
export const waits = ({ state }: Pick<StreamRecord, 'state'>): boolean => state === 'reserving' || state === 'waiting';

/** Whether the gateway runs a proxy for the stream, so that it has a status. */
export const runs = (record: Pick<StreamRecord, 'state'>): boolean =>
  !waits(record) && record.state !== 'releasing' && !isFinal(record.state);

/** Whether a client may send the request of a stream again: no UPDATE has arrived. */
export const repeatable = ({ state, targets }: Pick<StreamRecord, 'state' | 'targets'>): boolean =>
  (state === 'waiting' || state === 'provisioned') && targets.length === 0;
