import { formatAddress } from '../contracts/address.js';
import { toSciStreamError, type SciStreamError } from '../contracts/errors.js';
import { ROLE_CODES } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import type { Endpoint } from './endpoint.js';
import type { Journal, JournalEntry } from './journal.js';
import { ambiguous, matching, notFound } from './refs.js';
import { isUnknown } from './setup.js';
import { mergeStatus, type SideAnswer, type StreamStatus } from './status.js';
import { askSide, StreamHandle } from './stream-handle.js';

/** Where to look for streams. */
export interface Survey {
  readonly journal: Journal;
  /** Control servers to ask, besides those of the journal. */
  readonly endpoints: readonly Endpoint[];
  readonly client: (endpoint: Endpoint) => ControlClient;
  /** Ends the search with its reason. */
  readonly signal: AbortSignal | undefined;
}

/** A control server that could not be asked. */
export interface Silent {
  readonly facility: string;
  /** host:port */
  readonly s2cs: string;
  readonly error: SciStreamError;
}

/** What a look at several control servers found. */
export interface StreamList {
  /** Oldest first. */
  readonly streams: readonly StreamStatus[];
  readonly unreachable: readonly Silent[];
}

/** A stream and its two sides, from wherever they are known. */
interface Found {
  readonly uid: string;
  readonly name: string;
  readonly from?: SideAnswer | undefined;
  readonly to?: SideAnswer | undefined;
  readonly peer?: Endpoint | undefined;
}

/**
 * All streams that the servers list, and those of the journal that are not over. Stale entries of the journal go.
 * @throws The error of the first server when there are servers and none of them could be asked.
 */
export async function listStreams(survey: Survey, ended: boolean): Promise<StreamList> {
  const entries = await survey.journal.list();
  const { found, silent } = await listServers(survey, ended);
  const listed = new Set(found.map(({ uid }) => uid));
  const unlisted = entries.filter(({ uid }) => !listed.has(uid));
  const others = await Promise.all(unlisted.map((entry) => askEntry(survey, entry)));
  const completed = await Promise.all(found.map((stream) => complete(survey, stream, entries)));
  const streams = [...completed, ...others.flatMap((stream) => stream ?? [])]
    .filter(({ from, to }) => from?.stream ?? to?.stream)
    .map(({ uid, from, to }) => mergeStatus(uid, from, to))
    .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  const [first] = silent;
  if (first && streams.length === 0 && silent.length === survey.endpoints.length) throw first.error;
  return {
    streams,
    unreachable: unreachable([...silent, ...others.flatMap(errorsOf), ...completed.flatMap(errorsOf)]),
  };
}

/**
 * The one stream that `ref` means: first among those of the journal, which works without any configuration, then among
 * those the servers list.
 * @param ended Whether a name may also mean a stream that has failed.
 * @throws SCI_STREAM_NOT_FOUND, SCI_STREAM_AMBIGUOUS; the error of a server when it alone could tell
 */
export async function findStream(ref: string, survey: Survey, ended: boolean): Promise<StreamHandle> {
  const entries = matching(ref, await survey.journal.list());
  const known = (await Promise.all(entries.map((entry) => askEntry(survey, entry)))).flatMap((stream) => stream ?? []);
  if (known.length > 0) return handleOf(theOne(ref, known), survey);
  const { found, silent } = await listServers(survey, true);
  const candidates = matching(ref, found).filter((stream) => isNamed(stream, ref) || !isFree(stream, ended));
  if (candidates.length === 0) {
    throw notFound(
      ref,
      silent.map(({ endpoint }) => endpoint.facility),
    );
  }
  return handleOf(theOne(ref, candidates), survey);
}

/** Of several streams that are meant, those that are over do not count; when all are over, the last one does. */
function theOne(ref: string, found: readonly Found[]): Found {
  const alive = found.filter(({ from, to }) => !isOver(from) || !isOver(to));
  if (alive.length > 1) throw ambiguous(ref, alive);
  const createdAt = ({ from, to }: Found): string => (from?.stream ?? to?.stream)?.createdAt ?? '';
  const one = alive[0] ?? [...found].sort((a, b) => createdAt(a).localeCompare(createdAt(b))).at(-1);
  if (!one) throw notFound(ref);
  return one;
}

/** A uid means the same stream for ever. */
const isNamed = ({ uid }: Found, ref: string): boolean => uid.startsWith(ref);

/** Whether a name is free again: its stream is released, or has failed and such streams are not looked for. */
function isFree({ from, to }: Found, ended: boolean): boolean {
  const sides = [from, to].filter((side) => side !== undefined);
  return sides.every((side) => (ended ? side.stream?.state === 'released' : isOver(side)));
}

const isOver = (side: SideAnswer | undefined): boolean =>
  !side || side.stream?.state === 'released' || side.stream?.state === 'failed';

function handleOf({ uid, from, to, peer }: Found, { journal, client }: Survey): StreamHandle {
  const error = from?.error ?? to?.error;
  if (error && !from?.stream && !to?.stream) throw error;
  return new StreamHandle({
    uid,
    from: from && client(from.endpoint),
    to: to && client(to.endpoint),
    peer: peer && client(peer),
    journal,
    initial: mergeStatus(uid, from, to),
  });
}

/**
 * Asks the servers of a journal entry. When none of them knows the stream any more, or it is over, the entry goes; a
 * server that cannot be asked counts as one that knows it until its time is over.
 */
async function askEntry({ journal, client, signal }: Survey, entry: JournalEntry): Promise<Found | undefined> {
  const { uid, name, from, to, peer } = entry;
  const [inbound, outbound] = await Promise.all([
    from && askSide(client(from), uid, signal),
    to && askSide(client(to), uid, signal),
  ]);
  const late = Date.parse(entry.expiresAt) < Date.now();
  const isGone = ({ error, stream }: SideAnswer): boolean =>
    stream ? stream.state === 'released' : late || isUnknown(error);
  const gone = [inbound, outbound].every((side) => !side || isGone(side));
  if (gone) {
    await journal.drop(uid, ['from', 'to']);
    return undefined;
  }
  return { uid, name, from: inbound, to: outbound, peer };
}

/** One Found per uid; the role tells the side. */
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

/** Adds the side a journal entry knows and no listed server has. */
async function complete({ client, signal }: Survey, found: Found, entries: readonly JournalEntry[]): Promise<Found> {
  const entry = entries.find(({ uid }) => uid === found.uid);
  const [from, to] = await Promise.all([
    found.from ?? (entry?.from && askSide(client(entry.from), found.uid, signal)),
    found.to ?? (entry?.to && askSide(client(entry.to), found.uid, signal)),
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
