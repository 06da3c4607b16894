/** Finds out at the start which stored streams to load, without holding their rows. */
import { isFinal, type StreamRecord } from '../contracts/stream.js';
import { toForget, type Ended, type EndedLimits } from './ended.js';

/** Larger rows of ended streams are removed without being parsed, characters. An earlier version wrote such rows. */
const MAX_ROW = 500_000;
/** The first part of a row, which has the state, characters. */
const HEAD = 4_000;

/** A stream to load. */
export interface Found {
  readonly uid: string;
  /** Time of the end, ms since the epoch. Absent for a live stream. */
  readonly endedAt?: number;
}

/** What to do with the stored streams. */
export interface Survey {
  /** In the order of creation. */
  readonly kept: readonly Found[];
  /** Uids. */
  readonly forgotten: readonly string[];
}

/**
 * Reads all rows of the table of streams, one at a time.
 * @param rows Keys and JSON texts. A damaged row is kept, so that loading it reports the damage.
 */
export async function survey(rows: AsyncIterable<readonly [string, string]>, limits: EndedLimits): Promise<Survey> {
  const found: (Found & { readonly order: number })[] = [];
  const ended: Ended[] = [];
  const forgotten: string[] = [];
  for await (const [uid, text] of rows) {
    if (text.length > MAX_ROW && /"state":"(released|failed)"/.test(text.slice(0, HEAD))) {
      forgotten.push(uid);
      continue;
    }
    const { order, owner, at } = summaryOf(text);
    found.push({ uid, order, ...(at === undefined ? {} : { endedAt: at }) });
    if (at !== undefined) ended.push({ uid, owner, bytes: text.length, at });
  }
  found.sort((a, b) => a.order - b.order);
  ended.sort((a, b) => a.at - b.at);
  const surplus = new Set(toForget(ended, limits, Date.now()));
  return { kept: found.filter(({ uid }) => !surplus.has(uid)), forgotten: [...forgotten, ...surplus] };
}

interface Row {
  readonly order: number;
  readonly record: Pick<StreamRecord, 'state' | 'owner' | 'expiresAt'>;
  readonly endedAt?: number;
}

/** What decides whether a stream is loaded. `at`: the time of its end, or for a row of an earlier version the latest possible. */
function summaryOf(text: string): { readonly order: number; readonly owner: string; readonly at?: number } {
  try {
    const { order, record, endedAt } = JSON.parse(text) as Row;
    // A copy, because V8 keeps the whole text for a part of it.
    const owner = Buffer.from(record.owner).toString();
    if (!isFinal(record.state)) return { order, owner };
    return { order, owner, at: endedAt ?? Math.min(Date.now(), Date.parse(record.expiresAt)) };
  } catch {
    return { order: 0, owner: '' };
  }
}
