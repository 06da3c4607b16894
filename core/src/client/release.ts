import { messageOf, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { ControlClient } from './control-client.js';
import { isUnknown, naming, type Outcomes, type Side } from './setup.js';

/** Deadline of RELEASE, ms. */
const RELEASE_MS = 15_000;
/** Deadline of RELEASE at a control server that has not answered any call, ms. */
const DOUBTFUL_RELEASE_MS = 2_000;

/**
 * Sends RELEASE to all sides in parallel, each with its own deadline. The sides are independent of each other.
 * A control server answers SCI_STREAM_NOT_FOUND for a side that has ended, and to any identity that does not own it.
 * @param deadline Deadline of a side, ms.
 * @param isOwn Whether this caller created or has seen the side, so that SCI_STREAM_NOT_FOUND means that it has ended.
 * @returns The sides that were not released, and their errors.
 */
export async function releaseSides(
  sides: readonly Side[],
  uid: string,
  deadline: (side: Side) => number = () => RELEASE_MS,
  isOwn: (side: Side) => boolean = () => true,
): Promise<readonly Unreleased[]> {
  const outcomes = sides.map(async (side): Promise<Unreleased | undefined> => {
    try {
      await side.client.release(uid, { deadlineMs: deadline(side) });
      return undefined;
    } catch (error) {
      if (!isUnknown(error)) return { side, error: naming(side, error) };
      return isOwn(side) ? undefined : { side, error: naming(side, notVisible(uid)) };
    }
  });
  return (await Promise.all(outcomes)).flatMap((unreleased) => unreleased ?? []);
}

interface Unreleased {
  readonly side: Side;
  readonly error: SciStreamError;
}

const notVisible = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `nothing of stream ${uid} is visible to this caller.`, {
    suggestions: [OTHER_CREDENTIALS],
  });

/** A control server does not show a stream to callers that do not own it. */
export const OTHER_CREDENTIALS = 'If the stream still exists, use the credentials that created it.';

/** Sends RELEASE to control servers that may have a side of the stream. An unknown stream is no error. */
export async function releaseAt(
  clients: readonly ControlClient[],
  uid: string,
): Promise<{ readonly released: boolean; readonly errors: readonly SciStreamError[] }> {
  const outcomes = await Promise.allSettled(clients.map((client) => client.release(uid)));
  const errors = outcomes.flatMap((outcome, i) => {
    if (outcome.status === 'fulfilled' || isUnknown(outcome.reason)) return [];
    const { code, message, suggestions } = toSciStreamError(outcome.reason);
    const text = `${clients[i]?.endpoint.facility ?? ''} may have a side of the stream: ${message}`;
    return [new SciStreamError(code, text, { suggestions, cause: outcome.reason })];
  });
  return { released: outcomes.some(({ status }) => status === 'fulfilled'), errors };
}

/** SCI_STREAM_NOT_FOUND of a stream that no control server released. */
export const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `No control server shows stream ${uid} to this caller.`, {
    suggestions: ['scistream stream ls', OTHER_CREDENTIALS],
  });

/** The error of `stream down`, with the reasons of all sides. */
export function notReleased(uid: string, errors: readonly SciStreamError[]): SciStreamError {
  const [first] = errors;
  const text = `Not released: ${errors.map(({ message }) => message).join(' ')}`;
  const suggestions = [...new Set(errors.flatMap((error) => error.suggestions)), `scistream stream down ${uid}`];
  return new SciStreamError(first?.code ?? 'SCI_BUG', text, { suggestions, cause: first });
}

/** Result of {@link rollBack}. */
export interface RolledBack {
  /** The error to throw: the unchanged cause if nothing remains. Otherwise it also says what may remain. */
  readonly failure: unknown;
  /** Sides that hold nothing of the stream. */
  readonly gone: readonly Side[];
}

/**
 * Releases the sides after a failure. A side that rejected REQ is skipped, because the uid may belong to another user
 * there. A side that may have received REQ remains until it answers RELEASE.
 */
export async function rollBack(
  sides: readonly Side[],
  outcomes: Outcomes,
  uid: string,
  cause: unknown,
): Promise<RolledBack> {
  const begun = sides.filter((side) => side.client.opened && outcomes.get(side) !== 'absent');
  const deadline = ({ client }: Side): number => (client.reached ? RELEASE_MS : DOUBTFUL_RELEASE_MS);
  const unreleased = await releaseSides(begun, uid, deadline);
  const left = unreleased.filter(({ side, error }) => outcomes.has(side) || (side.client.opened && !isDenied(error)));
  const gone = sides.filter((side) => !left.some((one) => one.side === side));
  if (left.length === 0) return { failure: cause, gone };
  const error = SciStreamError.is(cause) ? cause : new SciStreamError('SCI_CLIENT_GONE', messageOf(cause), { cause });
  const servers = left.map(({ side }) => ` --s2cs ${side.client.endpoint.facility}`).join('');
  const why = left.map(({ error: { message } }) => message).join(' ');
  const note = `The stream was not released and may remain. ${why} Retry with: scistream stream down ${uid}${servers}`;
  const failure = new SciStreamError(error.code, error.message, { cause, suggestions: [...error.suggestions, note] });
  return { failure, gone };
}

/** A caller without the right to release cannot have reserved anything. */
const isDenied = ({ code }: SciStreamError): boolean => code === 'SCI_UNAUTHENTICATED' || code === 'SCI_FORBIDDEN';
