import type { Identity } from '../authenticator.js';
import { SciStreamError } from '../errors.js';
import type { Action, Granted, Policy } from '../policy.js';

/** Anybody who is authenticated may make streams; only the owner and admins may touch them afterwards. Gateways are for admins. */
export class OwnerPolicy implements Policy {
  async check(identity: Identity, action: Action): Promise<Granted> {
    if (action.kind === 'request' || identity.admin) return {};
    if (action.kind === 'drain') {
      throw new SciStreamError('SCI_FORBIDDEN', `${ownerOf(identity)} may not drain gateways.`, {
        suggestions: ['Use an identity with admin: true; key auth of the control server.'],
      });
    }
    if (action.stream.owner === ownerOf(identity)) return {};
    throw unknownStream(action.stream.uid);
  }
}

/** What is said of a stream that does not exist, and word for word of one that is not the caller's business. */
export const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `There is no stream ${uid} of yours here.`, {
    suggestions: ['scistream stream ls shows the streams of all configured facilities.'],
  });

/** How an identity stands in `StreamRecord.owner`. */
export const ownerOf = ({ issuer, subject }: Identity): string => `${issuer}:${subject}`;
