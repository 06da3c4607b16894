import type { Address } from './address.js';
import type { Identity } from './authenticator.js';
import type { Role } from './s2ds.js';
import type { StreamRecord } from './stream-store.js';

/** Something a caller wants to do. */
export type Action =
  | { readonly kind: 'request'; readonly role: Role; readonly proxy: string; readonly connections: number }
  | { readonly kind: 'hello' | 'view' | 'release'; readonly stream: StreamRecord }
  | { readonly kind: 'drain'; readonly gateway: string }
  | { readonly kind: 'update'; readonly stream: StreamRecord; readonly targets: readonly Address[] };

/** Decides who may do what. Called after authentication and before anything is allocated or told. */
export interface Policy {
  /** @throws SCI_FORBIDDEN with the reason; SCI_STREAM_NOT_FOUND where even the existence of a stream is not the caller's business. */
  check(identity: Identity, action: Action): Promise<void>;
}
