import { quote, SciStreamError } from '../contracts/errors.js';
import { OTHER_CREDENTIALS } from './release.js';
import { isNotOffered } from './setup.js';
import type { SideAnswer } from './side-status.js';
import { mergeStatus } from './status.js';
import { failureOf, StreamHandle } from './stream-handle.js';
import { askEntry, listServers, type Failed, type Found, type Survey } from './survey.js';

const UID = /^[A-Za-z0-9-]{8,64}$/;
/** Minimum length of a uid prefix, characters. */
const MIN_PREFIX = 6;

/** How {@link findStream} searches. */
export interface Finding {
  /** Whether a name also matches an ended stream; a running one has precedence. */
  readonly ended: boolean;
  /** Whether to return a stream that no server reports, as far as it is known, so that it can be released. */
  readonly forRelease: boolean;
  /** Only streams of this owner, `issuer:subject`. */
  readonly owner?: string | undefined;
  /** Whether the stream of another owner needs `owner`, unless `ref` is its complete uid. */
  readonly forChange: boolean;
}

/**
 * Finds one stream: first in the journal, which needs no configuration, then on the servers.
 * @throws SCI_STREAM_NOT_FOUND, SCI_STREAM_AMBIGUOUS; SCI_USAGE for the stream of another owner; the error of a server
 * when no side of the stream, or no server of the search, answers
 */
export async function findStream(ref: string, survey: Survey, how: Finding): Promise<StreamHandle> {
  const entries = matching(ref, await survey.journal.list());
  const asked = await Promise.all(entries.map((entry) => askEntry(survey, entry)));
  const known = asked.flatMap((stream) => stream ?? []).filter((stream) => belongs(stream, how.owner));
  if (known.length > 0) return handleOf(theOne(ref, known), survey, how);
  const { found, silent } = await listServers(survey, true);
  const dead = silent.filter(({ error }) => !isNotOffered(error));
  const unsure = how.forRelease && dead.length > 0;
  const candidates = matching(
    ref,
    found.filter((stream) => belongs(stream, how.owner)),
  ).filter((stream) => isNamed(stream, ref) || how.ended || !isFree(stream) || (unsure && isHalfReleased(stream)));
  if (candidates.length === 0 && how.forRelease && dead.length < silent.length && UID.test(ref)) {
    return handleOf({ uid: ref, name: '' }, survey, how, silent);
  }
  if (candidates.length === 0 && dead[0] && silent.length === survey.endpoints.length) throw dead[0].error;
  if (candidates.length === 0) throw notFound(ref, silent);
  const one = theOne(ref, candidates);
  if (how.forChange && how.owner === undefined && one.uid !== ref) await mustOwn(ref, one, survey);
  return handleOf(one, survey, how, silent);
}

const ownerOfStream = ({ from, to }: Found): string | undefined => (from?.stream ?? to?.stream)?.owner;

const belongs = (found: Found, owner: string | undefined): boolean =>
  owner === undefined || ownerOfStream(found) === owner;

/** An admin sees the streams of all owners, and a name may belong to several. @throws SCI_USAGE */
async function mustOwn(ref: string, found: Found, { client, signal }: Survey): Promise<void> {
  const side = found.from ?? found.to;
  const owner = ownerOfStream(found);
  if (!side || owner === undefined || owner === '') return;
  const { issuer, subject } = await client(side.endpoint).whoAmI({ signal });
  if (owner === `${issuer}:${subject}`) return;
  throw new SciStreamError('SCI_USAGE', `Stream ${quote(ref)} (${found.uid}) belongs to ${owner}.`, {
    suggestions: [`Add --owner ${owner} to act on the stream of another owner.`],
  });
}

/** Of several matches, the one that has not ended; the newest if all have ended. */
function theOne(ref: string, found: readonly Found[]): Found {
  const alive = found.filter(({ from, to }) => !isOver(from) || !isOver(to));
  if (alive.length > 1) throw ambiguous(ref, alive);
  const createdAt = ({ from, to }: Found): string => (from?.stream ?? to?.stream)?.createdAt ?? '';
  const one = alive[0] ?? [...found].sort((a, b) => createdAt(a).localeCompare(createdAt(b))).at(-1);
  if (!one) throw notFound(ref);
  return one;
}

/** Whether `ref` is the uid or its prefix, which always means the same stream. */
const isNamed = ({ uid }: Found, ref: string): boolean => uid.startsWith(ref);

/** Whether both sides have ended, so that another stream may have the name. */
const isFree = ({ from, to }: Found): boolean => isOver(from) && isOver(to);

/** Whether one side is released, and another server may have the other side. */
const isHalfReleased = ({ from, to }: Found): boolean => !(from && to) && (from ?? to)?.stream?.state === 'released';

const isOver = (side: SideAnswer | undefined): boolean =>
  !side || side.stream?.state === 'released' || side.stream?.state === 'failed';

/** @param silent Servers that did not answer the search; one of them may have the side that was not found. */
function handleOf(
  found: Found,
  { journal, client }: Survey,
  { forRelease }: Finding,
  silent: readonly Failed[] = [],
): StreamHandle {
  const { uid, from, to, peer, probe, otherCredentials } = found;
  const error = failureOf(from, to);
  if (error && !forRelease) throw error;
  return new StreamHandle({
    uid,
    from: from && client(from.endpoint),
    to: to && client(to.endpoint),
    peer: peer && client(peer),
    probe,
    otherCredentials,
    journal,
    silent: from && to ? [] : silent.map(({ endpoint }) => client(endpoint)),
    initial: mergeStatus(uid, from, to, found),
  });
}

type Named = Pick<Found, 'uid' | 'name'>;

/** The items with the uid `ref`; without one, the items with that name or with that uid prefix. */
function matching<T extends Named>(ref: string, items: readonly T[]): readonly T[] {
  const exact = items.filter(({ uid }) => uid === ref);
  if (exact.length > 0) return exact;
  return items.filter(({ uid, name }) => name === ref || (ref.length >= MIN_PREFIX && uid.startsWith(ref)));
}

/** SCI_STREAM_NOT_FOUND. @param failed Servers that could not be searched. */
function notFound(ref: string, failed: readonly Failed[] = []): SciStreamError {
  const reasons = failed.map(
    ({ endpoint, error }) => ` ${endpoint.facility} could not be searched: ${error.message} [${error.code}]`,
  );
  const short =
    ref.length < MIN_PREFIX && /^[0-9a-f-]+$/i.test(ref) ? [`Use at least ${MIN_PREFIX} characters of the uid.`] : [];
  return new SciStreamError(
    'SCI_STREAM_NOT_FOUND',
    `No stream with the uid or name ${quote(ref)} is visible to this caller.${reasons.join('')}`,
    {
      suggestions: [
        'scistream stream ls',
        ...short,
        OTHER_CREDENTIALS,
        ...new Set(failed.flatMap(({ error }) => error.suggestions)),
      ],
    },
  );
}

function ambiguous(ref: string, found: readonly Found[]): SciStreamError {
  const uids = found.map(({ uid }) => uid);
  const owners = [...new Set(found.flatMap((stream) => ownerOfStream(stream) || []))];
  const owner = owners.length > 1 ? owners.map((one) => `Add --owner ${one} to select the stream of that owner.`) : [];
  return new SciStreamError(
    'SCI_STREAM_AMBIGUOUS',
    `${quote(ref)} matches ${found.length} streams: ${uids.join(', ')}.`,
    { suggestions: [...owner.slice(0, 3), `Repeat the command with one of these uids instead of ${quote(ref)}.`] },
  );
}
