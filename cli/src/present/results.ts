import type { SideStatus, StreamHandle, StreamStatus } from '@scistream/core/client';

/** One side of a stream in the result of `stream up` (experience.md "Output"). */
export type UpSide = Pick<SideStatus, 'facility' | 'gateway' | 'proxy' | 'runtime' | 'listeners' | 'targets'>;

/**
 * What `stream up --json` prints. A side that was not made here is absent; `ticket` comes with `--inbound`, and is a secret
 * where `encryption` is `tls`.
 */
export interface UpResult extends Omit<StreamStatus, 'from' | 'to' | 'owner' | 'restarts' | 'diagnosis' | 'hops'> {
  readonly from?: UpSide;
  readonly to?: UpSide;
  readonly setupMs: number;
  readonly ticket?: string;
}

/** What `stream up` returns. @param ticket With `--inbound`. */
export function upResult({ initial, setupMs = 0 }: StreamHandle, ticket: string | undefined): UpResult {
  const { from, to, owner: _owner, restarts: _restarts, diagnosis: _diagnosis, hops: _hops, ...rest } = initial;
  return {
    ...rest,
    ...(from && { from: upSide(from) }),
    ...(to && { to: upSide(to) }),
    setupMs,
    ...(ticket && { ticket }),
  };
}

function upSide({ facility, gateway, proxy, runtime, listeners, targets }: SideStatus): UpSide {
  return { facility, gateway, proxy, runtime, listeners, targets };
}

/** One stream in what `stream down --json` prints; bytes as counted by the outbound gateway, or else by the inbound one. */
export interface DownResult {
  readonly uid: string;
  readonly name: string;
  readonly state: 'released';
  /** Whether any of its proxies has counted; the numbers mean nothing otherwise. */
  readonly counted: boolean;
  readonly connections: number;
  readonly bytesToProducer: number;
  readonly bytesToConsumer: number;
}

/** What `stream down` returns for one stream. @param last Its last status, where a control server remembers it. */
export function downResult(uid: string, name: string, last: StreamStatus | undefined): DownResult {
  const hop = last?.hops.find(({ counted }) => counted);
  const { connections = 0, bytesToProducer = 0, bytesToConsumer = 0 } = hop ?? {};
  return { uid, name, state: 'released', counted: hop !== undefined, connections, bytesToProducer, bytesToConsumer };
}
