import { formatAddress } from '../contracts/address.js';
import { quote, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { ROLE_CODES, type ProbeAnswer } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import type { Endpoint } from './endpoint.js';
import type { Journal, JournalEntry } from './journal.js';
import { OTHER_CREDENTIALS } from './release.js';
import { isNotOffered, isUnknown } from './setup.js';
import type { SideAnswer } from './side-status.js';
import { mergeStatus, type KnownFacts, type StreamStatus } from './status.js';
import { askSide, failureOf, StreamHandle } from './stream-handle.js';

const UID = /^[A-Za-z0-9-]{8,64}$/;
/** Minimum length of a uid prefix, characters. */
const MIN_PREFIX = 6;

/** Sources of a search for streams. */
export interface Survey {
  readonly journal: Journal;
  /** Control servers besides those in the journal. */
  readonly endpoints: readonly Endpoint[];
  readonly client: (endpoint: Endpoint) => ControlClient;
  /** The endpoint to use for one in the journal. */
  readonly recall: (endpoint: Endpoint) => Endpoint;
  /** Aborts the search with its reason. */
  readonly signal: AbortSignal | undefined;
}

/** A control server that did not answer. */
export interface Silent {
  readonly facility: string;
  /** host:port */
  readonly s2cs: string;
  readonly error: SciStreamError;
}

/** Result of a search on several control servers. */
export interface StreamList {
  /** Oldest first. */
  readonly streams: readonly StreamStatus[];
  /** Whether the caller is an admin at one of the control servers, which lists the streams of all owners. */
  readonly admin: boolean;
  readonly unreachable: readonly Silent[];
}

/** A stream and its known sides. */
interface Found extends KnownFacts {
  readonly uid: string;
  readonly name: string;
  readonly from?: SideAnswer | undefined;
  readonly to?: SideAnswer | undefined;
  readonly peer?: Endpoint | undefined;
  readonly probe?: ProbeAnswer | undefined;
  readonly otherCredentials?: readonly ('from' | 'to')[];
}

/**
 * Lists all streams of the servers, and those in the journal that have not ended. Removes stale entries of the journal.
 * @throws The error of the first server when every server failed.
 */
export async function listStreams(survey: Survey, ended: boolean): Promise<StreamList> {
  const entries = await survey.journal.list();
  const [{ found, silent }, admin] = await Promise.all([listServers(survey, ended), isAdmin(survey)]);
  const listed = new Set(found.map(({ uid }) => uid));
  const unlisted = entries.filter(({ uid }) => !listed.has(uid));
  const others = await Promise.all(unlisted.map((entry) => askEntry(survey, entry)));
  const completed = await Promise.all(found.map((stream) => complete(survey, stream, entries)));
  const streams = [...completed, ...others.flatMap((stream) => stream ?? [])]
    .filter(({ from, to }) => !failureOf(from, to))
    .map((found) => mergeStatus(found.uid, found.from, found.to, found))
    .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  const dead = silent.filter(({ error }) => !isNotOffered(error));
  const [first] = dead;
  if (first && streams.length === 0 && dead.length === survey.endpoints.length) throw first.error;
  return {
    streams,
    admin,
    unreachable: unreachable([...silent, ...others.flatMap(errorsOf), ...completed.flatMap(errorsOf)]),
  };
}

/** A server that does not answer is reported with its streams. */
async function isAdmin({ endpoints, client, signal }: Survey): Promise<boolean> {
  const callers = await Promise.allSettled(endpoints.map((endpoint) => client(endpoint).whoAmI({ signal })));
  return callers.some((caller) => caller.status === 'fulfilled' && caller.value.admin);
}

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

/**
 * Requests the stream of a journal entry from its servers. Removes the entry when no server has the stream or the
 * stream has ended. An unreachable server counts as having the stream until the lifetime has passed. With other
 * credentials than those in the entry, a server may not show the stream, so the entry stays.
 */
async function askEntry(survey: Survey, entry: JournalEntry): Promise<Found | undefined> {
  const { journal, client, recall, signal } = survey;
  const { uid, name, peer, probe, createdAt } = entry;
  const from = entry.from && recall(entry.from);
  const to = entry.to && recall(entry.to);
  const [inbound, outbound] = await Promise.all([
    from && askSide(client(from), uid, signal),
    to && askSide(client(to), uid, signal),
  ]);
  const late = Date.parse(entry.expiresAt) < Date.now();
  const isGone = ({ error, stream }: SideAnswer): boolean =>
    stream ? stream.state === 'released' : isUnknown(error) || (late && !isNotOffered(error));
  const gone = [inbound, outbound].every((side) => !side || isGone(side));
  const otherCredentials = [
    ...(from === entry.from ? [] : (['from'] as const)),
    ...(to === entry.to ? [] : (['to'] as const)),
  ];
  if (gone) {
    if (late || otherCredentials.length === 0) await journal.drop(uid, ['from', 'to']);
    return undefined;
  }
  return { uid, name, createdAt, from: inbound, to: outbound, peer, probe, otherCredentials };
}

/** The streams of all servers, merged by uid. */
async function listServers(
  { endpoints, client, signal }: Survey,
  ended: boolean,
): Promise<{ found: readonly Found[]; silent: readonly Failed[] }> {
  const answers = await Promise.all(endpoints.map((endpoint) => listServer(client(endpoint), ended, signal)));
  const byUid = new Map<string, Found>();
  for (const { endpoint, stream } of answers.flatMap(({ sides }) => sides)) {
    if (!stream) continue;
    const { uid, name, role } = stream;
    const known = byUid.get(uid);
    byUid.set(uid, {
      uid,
      name: known?.name || name,
      ...known,
      [role === ROLE_CODES.inbound ? 'from' : 'to']: { endpoint, stream },
    });
  }
  return { found: [...byUid.values()], silent: answers.flatMap(({ failed }) => failed ?? []) };
}

interface Failed {
  readonly endpoint: Endpoint;
  readonly error: SciStreamError;
}

async function listServer(
  client: ControlClient,
  ended: boolean,
  signal: AbortSignal | undefined,
): Promise<{ sides: readonly SideAnswer[]; failed?: Failed }> {
  const { endpoint } = client;
  try {
    return { sides: (await client.list(ended, { signal })).map((stream) => ({ endpoint, stream })) };
  } catch (error) {
    signal?.throwIfAborted();
    return { sides: [], failed: { endpoint, error: toSciStreamError(error) } };
  }
}

/** Adds a side that only the journal knows. */
async function complete(survey: Survey, found: Found, entries: readonly JournalEntry[]): Promise<Found> {
  const { client, recall, signal } = survey;
  const entry = entries.find(({ uid }) => uid === found.uid);
  const [from, to] = await Promise.all([
    found.from ?? (entry?.from && askSide(client(recall(entry.from)), found.uid, signal)),
    found.to ?? (entry?.to && askSide(client(recall(entry.to)), found.uid, signal)),
  ]);
  return { ...found, from, to };
}

const errorsOf = (found: Found | undefined): readonly Failed[] =>
  [found?.from, found?.to].flatMap((side) =>
    side?.error && !isUnknown(side.error) ? [{ endpoint: side.endpoint, error: side.error }] : [],
  );

function unreachable(failed: readonly Failed[]): readonly Silent[] {
  const silent = failed.map(({ endpoint, error }) => ({
    facility: endpoint.facility,
    s2cs: formatAddress(endpoint.address),
    error,
  }));
  return [...new Map(silent.map((one) => [one.s2cs, one])).values()];
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
