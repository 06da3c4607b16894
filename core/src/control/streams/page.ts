/** Lists of streams, one page at a time. */
import { SciStreamError } from '../../contracts/errors.js';
import type { StreamRecord } from '../../contracts/stream.js';

/** Streams of one page. */
const MAX_STREAMS = 250;
/** Records of one page as JSON, bytes. The first one may be larger. */
const MAX_BYTES = 256_000;

/** The part of a list that a caller requests. */
export interface PageRequest {
  /** Maximum number of streams; 0: the maximum of the control server. */
  readonly size: number;
  /** `next` of the previous page; empty: the newest streams. */
  readonly token: string;
}

/** One page of a list. */
export interface Page {
  /** Oldest first. */
  readonly records: readonly StreamRecord[];
  /** Size of the records as JSON, bytes. */
  readonly bytes: number;
  /** Token of the page with the next older streams; empty: there are none. */
  readonly next: string;
}

/** Place of a stream in the order of creation. It does not depend on which other streams still exist. */
const placeOf = ({ createdAt, uid }: StreamRecord): string => `${createdAt}~${uid}`;

/**
 * Returns one page of the records that the caller may see, the newest page first.
 * @param allowed Whether the caller may see a record. Called only until the page is full.
 * @throws SCI_USAGE for a token that no page had
 */
export async function pageOf(
  records: readonly StreamRecord[],
  { size, token }: PageRequest,
  allowed: (record: StreamRecord) => Promise<boolean>,
): Promise<Page> {
  if (token !== '' && !/^[\dTZ:.-]{20,30}~[A-Za-z0-9-]{1,64}$/.test(token))
    throw new SciStreamError('SCI_USAGE', 'The page token is not the next_page_token of an answer.', {
      suggestions: ['Send next_page_token of the previous answer unchanged, or no page token.'],
    });
  const older = token === '' ? records : records.filter((record) => placeOf(record) < token);
  const newestFirst = older.toSorted((a, b) => (placeOf(a) < placeOf(b) ? 1 : -1));
  const page: StreamRecord[] = [];
  let bytes = 0;
  for (const record of newestFirst) {
    if (!(await allowed(record))) continue;
    const last = page.at(-1);
    const more = JSON.stringify(record).length;
    if (last && (page.length >= Math.min(size || MAX_STREAMS, MAX_STREAMS) || bytes + more > MAX_BYTES))
      return { records: page.reverse(), bytes, next: placeOf(last) };
    page.push(record);
    bytes += more;
  }
  return { records: page.reverse(), bytes, next: '' };
}
