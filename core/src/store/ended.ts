/** Which ended streams a store keeps. */

/** Limits of the streams that have ended. Keys of the same names below `limits` in the configuration. Read each time. */
export interface EndedLimits {
  /** Maximum time since the end, ms. */
  readonly endedAgeMs: number;
  readonly endedStreams: number;
  /** Records and events together, bytes as JSON. */
  readonly endedBytes: number;
  /** The same for the streams of one owner. */
  readonly endedBytesPerIdentity: number;
}

export const ENDED_LIMITS: EndedLimits = {
  endedAgeMs: 7 * 86_400_000,
  endedStreams: 1000,
  endedBytes: 16_000_000,
  endedBytesPerIdentity: 4_000_000,
};

/** An ended stream. */
export interface Ended {
  readonly uid: string;
  readonly owner: string;
  /** Record and events as JSON. */
  readonly bytes: number;
  /** Time of the end, ms since the epoch. */
  readonly at: number;
}

/**
 * The streams to forget: first those beyond the age and the bytes of their owner, then the oldest ones of the owner that
 * holds the most, so that no owner can displace the streams of others.
 * @param ended Oldest first.
 * @returns Their uids.
 */
export function toForget(ended: readonly Ended[], limits: EndedLimits, now: number): readonly string[] {
  const forgotten: string[] = [];
  const owners = new Map<string, Holding>();
  // From the newest to the oldest, so that each owner keeps its newest ones.
  for (const one of ended.toReversed()) {
    const holding = owners.get(one.owner) ?? { kept: [], bytes: 0, full: false };
    owners.set(one.owner, holding);
    holding.full ||= holding.bytes + one.bytes > limits.endedBytesPerIdentity;
    if (holding.full || now - one.at > limits.endedAgeMs) forgotten.push(one.uid);
    else {
      holding.kept.push(one);
      holding.bytes += one.bytes;
    }
  }
  const all = [...owners.values()];
  let count = all.reduce((sum, { kept }) => sum + kept.length, 0);
  let bytes = all.reduce((sum, holding) => sum + holding.bytes, 0);
  while (count > limits.endedStreams || bytes > limits.endedBytes) {
    const weight = count > limits.endedStreams ? ({ kept }: Holding) => kept.length : (one: Holding) => one.bytes;
    const largest = all.reduce((most, one) => (weight(one) > weight(most) ? one : most));
    const oldest = largest.kept.pop();
    if (!oldest) break;
    largest.bytes -= oldest.bytes;
    forgotten.push(oldest.uid);
    count -= 1;
    bytes -= oldest.bytes;
  }
  return forgotten;
}

/** What one owner keeps. */
interface Holding {
  /** Newest first. */
  readonly kept: Ended[];
  bytes: number;
  full: boolean;
}
