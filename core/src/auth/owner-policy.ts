import type { Identity } from '../authenticator.js';
import { SciStreamError } from '../errors.js';
import type { Action, Policy } from '../policy.js';

/** Anybody who is authenticated may make streams; only the owner and admins may touch them afterwards. */
export class OwnerPolicy implements Policy {
  async check(identity: Identity, action: Action): Promise<void> {
    if (action.kind === 'request' || identity.admin || action.stream.owner === ownerOf(identity)) return;
    throw new SciStreamError('SCI_STREAM_NOT_FOUND', `There is no stream ${action.stream.uid} of yours here.`);
  }
}

/** How an identity stands in `StreamRecord.owner`. */
export const ownerOf = ({ issuer, subject }: Identity): string => `${issuer}:${subject}`;
