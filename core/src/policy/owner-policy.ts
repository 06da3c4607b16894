import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Network } from '../contracts/network.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import { unknownStream, type StreamRecord } from '../contracts/stream.js';
import type { NameLookups } from './name-lookups.js';
import { ordinaryTargets } from './ordinary-targets.js';

/**
 * Allows every authenticated caller to create streams that are encrypted between the gateways. Only the owner and admins
 * may use a stream afterwards. Only admins may drain gateways.
 */
export class OwnerPolicy implements Policy {
  /**
   * @param encryption Key of the configuration: `optional` also allows streams that are not encrypted.
   * @param others Set if callers on other hosts are possible. Targets are then resolved and checked here, and nobody, not
   * even an admin, reaches the addresses of the gateway, loopback, link-local, metadata and similar addresses.
   */
  constructor(
    private readonly encryption: 'required' | 'optional',
    private readonly others?: { readonly names: NameLookups; readonly own: () => readonly Network[] },
  ) {}

  async check(identity: Identity, action: Action): Promise<Granted> {
    this.#mustOwn(identity, action);
    if (action.kind === 'request') this.#mustEncrypt(action.stream);
    if (!this.others || (action.kind !== 'update' && action.kind !== 'probe')) return {};
    return { targets: await ordinaryTargets(this.others.names, identity, action, this.others.own()) };
  }

  #mustOwn(identity: Identity, action: Action): void {
    if (action.kind === 'request' || identity.admin) return;
    if (action.kind === 'drain') {
      throw new SciStreamError('SCI_FORBIDDEN', `${ownerOf(identity)} is not allowed to drain gateways.`, {
        suggestions: ['Use the identity of an admin. The operator names admins in the key auth of the control server.'],
      });
    }
    if (action.stream.owner !== ownerOf(identity)) throw unknownStream(action.stream.uid);
  }

  #mustEncrypt({ spec: { encryption, transport } }: StreamRecord): void {
    if (encryption === 'tls' || this.encryption === 'optional') return;
    const what = transport === 'udp' ? 'UDP streams, which cannot be encrypted' : 'streams without encryption';
    throw new SciStreamError('SCI_ENCRYPTION_REQUIRED', `This facility does not allow ${what}.`, {
      suggestions: [
        'Use TCP without --encryption none. With inbound-request, add --encryption tls.',
        'The operator can allow it: encryption: optional in the configuration of the control server, or a rule of its policy.',
      ],
    });
  }
}
