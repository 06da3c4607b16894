import type { Address } from './address.js';
import type { Identity } from './authenticator.js';
import type { StreamRecord } from './stream.js';

/** What the caller has at the moment, whoever else has streams. */
export interface Usage {
  readonly streams: number;
  /** Sum of the rates asked for, bit/s. */
  readonly bitsPerSecond: number;
}

/** Something a caller wants to do. */
export type Action =
  | {
      readonly kind: 'request';
      /** As it would be made; nothing of it exists yet. */
      readonly stream: StreamRecord;
      readonly usage: Usage;
    }
  /** `list` is a `view` among many, which is not worth a line in an audit log. */
  | { readonly kind: 'hello' | 'view' | 'list' | 'release'; readonly stream: StreamRecord }
  /** Lets a gateway take no new streams, or take them again. */
  | { readonly kind: 'drain'; readonly gateway: string }
  /** `probe` connects to the targets once, which who may `update` may do. */
  | { readonly kind: 'update' | 'probe'; readonly stream: StreamRecord; readonly targets: readonly Address[] };

/** What a policy allowed; everything absent is as it was asked for. */
export interface Granted {
  /** Names what decided, for the audit log. */
  readonly rule?: string;
  /** Of a `request`: the ids that were judged, and have to be used. */
  readonly proxy?: string;
  readonly runtime?: string;
  /** Of a `request` that asked for the most: how long that is, ms. */
  readonly lifetimeMs?: number;
  /** Of a `request`: networks from which its listeners may accept connections; absent: from everywhere. */
  readonly sources?: readonly string[];
  /** Of an `update`: the IP literals that were judged, one per target, and have to be put in force. */
  readonly targets?: readonly Address[];
}

/** Decides who may do what. Called after authentication and before anything is allocated or told. */
export interface Policy {
  /**
   * @throws SCI_FORBIDDEN with the reason; SCI_STREAM_NOT_FOUND where even the existence of a stream is not the caller's
   * business; SCI_TARGET_UNRESOLVED
   */
  check(identity: Identity, action: Action): Promise<Granted>;
  /**
   * Reads what the decisions depend on. Called before the first `check`, and whenever the operator asks for it.
   * @throws what is wrong with it; then what was read before stays in force.
   */
  load?(): Promise<void>;
  /** Called once, last. */
  close?(): void;
}
