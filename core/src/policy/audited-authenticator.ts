import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import { messageOf, toSciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { AuditLog } from './audit.js';

/** Records whom another authenticator refuses, and why. Whom it lets in shows in the decisions about them. */
export class AuditedAuthenticator implements Authenticator {
  readonly id: string;
  readonly letsAnybodyIn: boolean;

  constructor(
    private readonly authenticator: Authenticator,
    private readonly audit: AuditLog,
    private readonly log: Logger,
  ) {
    this.id = authenticator.id;
    this.letsAnybodyIn = authenticator.letsAnybodyIn === true;
  }

  async authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    try {
      return await this.authenticator.authenticate(credentials, signal);
    } catch (error) {
      this.#record(credentials.peer, error);
      throw error;
    }
  }

  /** The caller is refused in any case; what is wrong with the log is none of its business. */
  #record(peer: string, error: unknown): void {
    const { code, message } = toSciStreamError(error);
    const time = new Date().toISOString();
    try {
      const line = { time, peer, action: 'authenticate', decision: 'refused', code, reason: message };
      this.audit.appendSeldom(`authenticate ${peer} ${code}`, line);
    } catch (failure) {
      this.log.error({ peer, code, error: messageOf(failure) }, 'a refusal could not be recorded');
    }
  }
}
