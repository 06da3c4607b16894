/**
 * Uids of several owners. A uid belongs to its owner, and no caller learns which uids others have: if another owner's
 * stream has the requested uid here, the new stream gets an internal one, and its owner continues to use the requested one.
 */
import { createHash } from 'node:crypto';
import { SciStreamError } from '../../contracts/errors.js';
import type { StreamRecord } from '../../contracts/stream.js';

/** The internal uid of a stream: the same for every request of this owner with this uid. */
export const internalUid = (owner: string, uid: string): string =>
  `own-${createHash('sha256').update(`${owner}\n${uid}`).digest('hex').slice(0, 60)}`;

/** Rejects a request for an internal uid, which could belong to the stream of another owner. @throws SCI_UID_INVALID */
export function mustNotBeInternal(uid: string): void {
  if (!/^own-[0-9a-f]{60}$/.test(uid)) return;
  throw new SciStreamError('SCI_UID_INVALID', `Uid ${uid} is reserved for internal use.`, {
    suggestions: ['Use another uid, for example a UUID.'],
  });
}

/**
 * A record for a decision about a uid that no stream has. Policies reject it as they reject the stream of another owner,
 * so that the answer, its time and the audit log are the same.
 */
export const nobodys = (uid: string): StreamRecord => ({
  uid,
  version: 1,
  spec: {
    name: '',
    role: 'inbound',
    transport: 'tcp',
    connections: 1,
    bitsPerSecond: 0,
    lifetimeMs: 0,
    encryption: 'tls',
    gateway: '',
    proxy: '',
    runtime: '',
  },
  state: 'released',
  owner: '',
  gateway: '',
  proxy: '',
  runtime: '',
  listeners: [],
  announced: [],
  targets: [],
  rateEnforced: false,
  createdAt: '',
  expiresAt: '',
});
