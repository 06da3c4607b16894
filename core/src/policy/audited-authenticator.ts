import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import { messageOf, toSciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { sourceOf } from '../contracts/network.js';
import { shortened } from './audit-entry.js';
import type { AuditLog } from './audit.js';

/** Records the callers that another authenticator rejects. Accepted callers appear in the decisions of the policy. */
export class AuditedAuthenticator implements Authenticator {
  readonly id: string;
  readonly allowsAnonymous: boolean;

  constructor(
    private readonly authenticator: Authenticator,
    private readonly audit: AuditLog,
    private readonly log: Logger,
  ) {
    this.id = authenticator.id;
    this.allowsAnonymous = authenticator.allowsAnonymous === true;
  }

  async authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    try {
      return await this.authenticator.authenticate(credentials, signal);
    } catch (error) {
      this.#record(credentials.peer, error);
      throw error;
    }
  }

  /** Never throws: the caller is rejected in any case and learns nothing about the log. */
  #record(peer: string, error: unknown): void {
    const { code, message } = toSciStreamError(error);
    const time = new Date().toISOString();
    try {
      const line = { time, peer, action: 'authenticate', decision: 'refused', code, reason: shortened(message) };
      const source = sourceOf(peer);
      this.audit.appendSeldom(`authenticate ${source} ${code}`, line, source);
    } catch (failure) {
      this.log.error({ peer, code, error: messageOf(failure) }, 'refusal not recorded');
    }
  }
}
