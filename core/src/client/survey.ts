import { formatAddress } from '../contracts/address.js';
import { toSciStreamError, type SciStreamError } from '../contracts/errors.js';
import { ROLE_CODES, type ProbeAnswer } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import type { Endpoint } from './endpoint.js';
import type { Journal, JournalEntry } from './journal.js';
import { isNotOffered, isUnknown } from './setup.js';
import type { SideAnswer } from './side-status.js';
import { mergeStatus, type KnownFacts, type StreamStatus } from './status.js';
import { askSide, failureOf } from './stream-handle.js';

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
export interface Found extends KnownFacts {
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

/**
 * Requests the stream of a journal entry from its servers. Removes the entry when no server has the stream or the
 * stream has ended. An unreachable server counts as having the stream until the lifetime has passed. With other
 * credentials than those in the entry, a server may not show the stream, so the entry stays.
 */
export async function askEntry(survey: Survey, entry: JournalEntry): Promise<Found | undefined> {
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
export async function listServers(
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

/** A control server that could not be searched. */
export interface Failed {
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
