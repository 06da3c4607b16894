import type { SciStreamError } from '@scistream/core';
import type { Hop, SideStatus, StreamHandle, StreamStatus, VerifyResult } from '@scistream/core/client';

/** One side of a stream in the result of `stream up`. */
export type UpSide = Pick<SideStatus, 'facility' | 'gateway' | 'proxy' | 'runtime' | 'listeners' | 'targets'>;

/**
 * The output of `stream up --json`. A side that the command did not create is absent. `ticket` is present with
 * `--inbound`; it is a secret if `encryption` is `tls`.
 */
export interface UpResult extends Omit<StreamStatus, 'from' | 'to' | 'owner' | 'restarts' | 'diagnosis' | 'hops'> {
  readonly from?: UpSide;
  readonly to?: UpSide;
  readonly setupMs: number;
  /** As `VerifyResult.verified`; absent with `--inbound`, which has no path yet. */
  readonly verified?: boolean;
  /** Why the path is not verified. */
  readonly unverified?: NonNullable<Hop['error']>;
  readonly ticket?: string;
}

/** The result of `stream up`. @param ticket Present with `--inbound`. */
export function upResult({ initial, setupMs = 0, verification }: StreamHandle, ticket: string | undefined): UpResult {
  const { from, to, owner: _owner, restarts: _restarts, diagnosis: _diagnosis, hops: _hops, ...rest } = initial;
  return {
    ...rest,
    ...(from && { from: upSide(from) }),
    ...(to && { to: upSide(to) }),
    setupMs,
    ...(to && verification && verifiedPart(verification)),
    ...(ticket && { ticket }),
  };
}

function verifiedPart({ verified, hops }: VerifyResult): Pick<UpResult, 'verified' | 'unverified'> {
  if (verified) return { verified };
  // A hop that failed explains more than one that was tested in part, and that more than one that was not tried.
  const hop =
    hops.find(({ ok }) => ok === false) ??
    hops.find(({ proof, error }) => proof && error) ??
    hops.find(({ ok }) => ok === null);
  const unknown = { code: 'SCI_VERIFY_FAILED', message: 'no check is possible.', suggestions: [] };
  return { verified, unverified: hop?.error ?? unknown };
}

function upSide({ facility, gateway, proxy, runtime, listeners, targets }: SideStatus): UpSide {
  return { facility, gateway, proxy, runtime, listeners, targets };
}

/** One released stream in the output of `stream down --json`. Bytes are counted at the outbound gateway, else at the inbound one. */
export interface DownResult {
  readonly uid: string;
  readonly name: string;
  readonly state: 'released';
  /** Whether any proxy counted traffic; if false, the numbers are meaningless. */
  readonly counted: boolean;
  readonly connections: number;
  readonly bytesToProducer: number;
  readonly bytesToConsumer: number;
}

/** One stream that `stream down` did not release. `uid` is absent if the stream was not found. */
export interface DownFailure {
  readonly ref: string;
  readonly uid?: string;
  readonly error: SciStreamError;
}

/** The result of `stream down` for one stream. @param last Its last status, if a control server still has it. */
export function downResult(uid: string, name: string, last: StreamStatus | undefined): DownResult {
  const hop = last?.hops.find(({ counted }) => counted);
  const { connections = 0, bytesToProducer = 0, bytesToConsumer = 0 } = hop ?? {};
  return { uid, name, state: 'released', counted: hop !== undefined, connections, bytesToProducer, bytesToConsumer };
}
