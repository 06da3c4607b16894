import type { Address, Target } from './address.js';
import type { Identity } from './authenticator.js';
import type { StreamRecord } from './stream.js';

/** Current usage of one caller. */
export interface Usage {
  readonly streams: number;
  /** Sum of the reserved rates, bit/s. */
  readonly bitsPerSecond: number;
}

/** An action that a caller requests. */
export type Action =
  | {
      readonly kind: 'request';
      /** The stream that would be created. It does not exist yet. */
      readonly stream: StreamRecord;
      readonly usage: Usage;
    }
  /** `list` is `view` as part of a list; the audit log omits it. */
  | { readonly kind: 'hello' | 'view' | 'list' | 'release'; readonly stream: StreamRecord }
  /** Stops or resumes the placement of new streams on a gateway. */
  | { readonly kind: 'drain'; readonly gateway: string }
  /** `probe` connects to the targets once. It needs a rule for each target, as `update` does. */
  | {
      readonly kind: 'update' | 'probe';
      readonly stream: StreamRecord;
      readonly targets: readonly Address[];
      /** Those of `targets` that are listeners of other streams of the owner, and so may be addresses of a gateway. */
      readonly listeners?: readonly Address[];
    };

/** Result of an allowed action. An absent field leaves the requested value unchanged. */
export interface Granted {
  /** Name of the rule that decided, for the audit log. */
  readonly rule?: string;
  /** For `request`: id of the proxy that was checked. The stream must use it. */
  readonly proxy?: string;
  /** For `request`: id of the runtime that was checked. The stream must use it. */
  readonly runtime?: string;
  /** For a `request` of the maximum: the maximum, ms. */
  readonly lifetimeMs?: number;
  /** For `request`: networks from which the listeners accept connections. Absent: all. */
  readonly sources?: readonly string[];
  /**
   * For `update`: the IP literals that were checked, one entry per target, which has all checked addresses of its name.
   * The proxy must use them.
   */
  readonly targets?: readonly Target[];
  /** For `probe`: false if the caller must not learn why a target was not reached. */
  readonly reasons?: boolean;
}

/** Authorizes actions. The control server calls it after authentication, before it allocates or returns anything. */
export interface Policy {
  /**
   * Returns if the action is allowed.
   * @throws SCI_FORBIDDEN with the reason; SCI_STREAM_NOT_FOUND if the caller may not know that the stream exists;
   * SCI_TARGET_UNRESOLVED
   */
  check(identity: Identity, action: Action): Promise<Granted>;
  /**
   * Loads the rules. Called before the first `check`, and on each reload that the operator requests.
   * @throws SCI_CONFIG_* with the defect; the previous rules then remain in effect
   */
  load?(): Promise<void>;
  /** Frees all resources. Called once, last. */
  close?(): void;
}
