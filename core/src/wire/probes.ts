import type { MessageInitShape } from '@bufbuild/protobuf';
import { formatAddress, parseAddress } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import type { ConnectResult } from '../contracts/gateway.js';
import { parseProbeAnswer, type ProbeAnswer } from '../contracts/stream.js';
import type { ConnectResults, ConnectResultsSchema } from './gen/scistream/v1/streams_pb.js';

/** Parses the field `answer` of ProbeTargets. @throws SCI_USAGE */
export function mustBeAnswer(text: string): ProbeAnswer {
  const answer = parseProbeAnswer(text);
  if (answer) return answer;
  throw new SciStreamError('SCI_USAGE', `The answer ${quote(text)} of a probe is neither data nor close.`);
}

/** Milliseconds as whole microseconds. */
export const microseconds = (ms: number): bigint => BigInt(Math.round(ms * 1000));

/** Results of connections as a message. */
export function connectResultsMessage(
  results: readonly ConnectResult[],
): MessageInitShape<typeof ConnectResultsSchema> {
  return {
    results: results.map(({ address, roundTripMs, error }) => ({
      address: formatAddress(address),
      connected: error === undefined,
      roundTripUs: microseconds(roundTripMs),
      error: error ?? '',
    })),
  };
}

/** The inverse of {@link connectResultsMessage}. */
export function fromConnectResults({ results }: ConnectResults): readonly ConnectResult[] {
  return results.map(({ address, connected, roundTripUs, error }) => ({
    address: parseAddress(address),
    roundTripMs: Number(roundTripUs) / 1000,
    ...(connected ? {} : { error }),
  }));
}
