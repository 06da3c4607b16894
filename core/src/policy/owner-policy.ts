import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import { unknownStream, type StreamRecord } from '../contracts/stream.js';
import type { NameLookups } from './name-lookups.js';
import { ordinaryTargets } from './ordinary-targets.js';

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

  #mustEncrypt({ spec: { encryption, transport } }: StreamRecord): void {
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
