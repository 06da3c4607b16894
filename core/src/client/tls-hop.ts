import { SciStreamError } from '../contracts/errors.js';
import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import { outcome, type Hop } from './hops.js';

/** What {@link encryptedHop} needs. */
export interface EncryptedWay {
  readonly uid: string;
  readonly from?: ControlClient | undefined;
  readonly to: ControlClient;
  /** The outbound side. */
  readonly cons: Promise<Stream>;
  /** How the listeners answer a probe; empty if they do not. Then `from` opens a port. */
  readonly answer: string | undefined;
  /** What to do if a listener fails. */
  readonly failure: readonly string[];
}

/**
 * A TLS handshake of the outbound gateway with each inbound listener, or with a port beside them if their proxy does not
 * answer probes. The result of the slowest one, or of the first that failed; undefined if one side has an earlier version.
 */
export async function encryptedHop(
  { uid, answer, from, to, cons, failure }: EncryptedWay,
  signal?: AbortSignal,
): Promise<Omit<Hop, 'name' | 'from' | 'to' | 'checked'> | undefined> {
  const beside = answer ? undefined : await from?.openProbe(uid, true, { signal });
  if (beside?.tls === false) return undefined;
  try {
    const { results } = await to.probeTargets(uid, answer || 'data', beside?.address ?? '', { signal });
    const outcomes = results.map((result) => outcome(result, failure));
    const [slowest] = outcomes.toSorted((a, b) => (b.roundTripMs ?? 0) - (a.roundTripMs ?? 0));
    const failed = outcomes.find(({ ok }) => !ok);
    if (failed) return failed;
    // A gateway tests what it can in a few seconds, and one of an earlier version at most 8 listeners.
    const of = beside ? 1 : new Set((await cons).targets).size;
    return (
      slowest && { ...slowest, proof: 'tls', ...(results.length < of && { tested: { count: results.length, of } }) }
    );
  } catch (error) {
    if (SciStreamError.is(error) && error.code === 'SCI_NOT_OFFERED') return undefined;
    throw error;
  }
}
