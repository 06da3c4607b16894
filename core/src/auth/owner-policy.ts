import type { Identity } from '../authenticator.js';
import { SciStreamError } from '../errors.js';
import type { Action, Granted, Policy } from '../policy.js';
import type { NameLookups } from '../policy/name-lookups.js';
import { ordinaryTargets } from '../policy/ordinary-targets.js';
import type { StreamRecord } from '../stream-store.js';

/**
 * Anybody who is authenticated may make streams that are encrypted between the gateways; only the owner and admins may
 * touch them afterwards. Gateways are for admins.
 */
export class OwnerPolicy implements Policy {
  /**
   * @param encryption Key of the configuration: `optional` also allows streams that are not encrypted.
   * @param names Given where others can call: then nobody, no admin either, reaches loopback, link-local, metadata and the
   * like behind the gateway, and names are looked up here, so that the gateway gets the addresses that were judged.
   */
  constructor(
    private readonly encryption: 'required' | 'optional',
    private readonly names?: NameLookups,
  ) {}

  async check(identity: Identity, action: Action): Promise<Granted> {
    this.#mustOwn(identity, action);
    if (action.kind === 'request') this.#mustEncrypt(action.stream);
    if (!this.names || (action.kind !== 'update' && action.kind !== 'probe')) return {};
    return { targets: await ordinaryTargets(this.names, identity, action) };
  }

  #mustOwn(identity: Identity, action: Action): void {
    if (action.kind === 'request' || identity.admin) return;
    if (action.kind === 'drain') {
      throw new SciStreamError('SCI_FORBIDDEN', `${ownerOf(identity)} may not drain gateways.`, {
        suggestions: ['Use an identity with admin: true; key auth of the control server.'],
      });
    }
    if (action.stream.owner !== ownerOf(identity)) throw unknownStream(action.stream.uid);
  }

  #mustEncrypt({ encryption, transport }: StreamRecord): void {
    if (encryption === 'tls' || this.encryption === 'optional') return;
    const what = transport === 'udp' ? 'of UDP, which cannot be encrypted' : 'without encryption';
    throw new SciStreamError('SCI_ENCRYPTION_REQUIRED', `This facility serves no streams ${what}.`, {
      suggestions: [
        'Make it with scistream stream up, or with inbound-request --encryption tls, over TCP.',
        'The operator can allow it: encryption: optional in the configuration of the control server, or a rule of its policy.',
      ],
    });
  }
}

/** What is said of a stream that does not exist, and word for word of one that is not the caller's business. */
export const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `There is no stream ${uid} of yours here.`, {
    suggestions: ['scistream stream ls shows the streams of all configured facilities.'],
  });

/** How an identity stands in `StreamRecord.owner`. */
export const ownerOf = ({ issuer, subject }: Identity): string => `${issuer}:${subject}`;
