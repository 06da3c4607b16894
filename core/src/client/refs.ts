import { quote, SciStreamError } from '../contracts/errors.js';

/** A prefix of a uid counts from this many characters. */
const MIN_PREFIX = 6;

interface Named {
  readonly uid: string;
  readonly name: string;
}

/**
 * The items a user means by `ref`: the one with this uid, else those with this name or whose uid begins so (at least 6
 * characters).
 */
export function matching<T extends Named>(ref: string, items: readonly T[]): readonly T[] {
  const exact = items.filter(({ uid }) => uid === ref);
  if (exact.length > 0) return exact;
  return items.filter(({ uid, name }) => name === ref || (ref.length >= MIN_PREFIX && uid.startsWith(ref)));
}

/** SCI_STREAM_NOT_FOUND. @param unreachable Facilities that could not be asked. */
export function notFound(ref: string, unreachable: readonly string[] = []): SciStreamError {
  const asked = unreachable.length > 0 ? ` (${unreachable.join(', ')} unreachable)` : '';
  const short =
    ref.length < MIN_PREFIX && /^[0-9a-f-]+$/i.test(ref)
      ? [`A prefix of a uid needs at least ${MIN_PREFIX} characters.`]
      : [];
  return new SciStreamError('SCI_STREAM_NOT_FOUND', `No stream has the uid or name ${quote(ref)}${asked}.`, {
    suggestions: ['scistream stream ls', ...short],
  });
}

/** SCI_STREAM_AMBIGUOUS. */
export function ambiguous(ref: string, found: readonly Named[]): SciStreamError {
  const uids = found.map(({ uid }) => uid);
  return new SciStreamError(
    'SCI_STREAM_AMBIGUOUS',
    `${quote(ref)} matches ${found.length} streams: ${uids.join(', ')}.`,
    {
      suggestions: uids.slice(0, 3).map((uid) => `scistream stream status ${uid}`),
    },
  );
}
