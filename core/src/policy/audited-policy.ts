import { type Identity, ownerOf } from '../contracts/authenticator.js';
import { toSciStreamError } from '../contracts/errors.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import { entryOf, grantedEntry, shortened } from './audit-entry.js';
import type { AuditLog } from './audit.js';
import { Refusal } from './refusal.js';

/**
 * Records every decision of another policy before it takes effect. Rejects actions that cannot be recorded. Refusals, and
 * actions that change nothing if they are repeated, are limited: see {@link AuditLog}.
 */
export class AuditedPolicy implements Policy {
  constructor(
    private readonly policy: Policy,
    private readonly log: AuditLog,
  ) {}

  async load(): Promise<void> {
    this.log.open();
    await this.policy.load?.();
  }

  close(): void {
    this.policy.close?.();
    this.log.close();
  }

  async check(identity: Identity, action: Action): Promise<Granted> {
    if (action.kind === 'list') return await this.policy.check(identity, action);
    const asked = entryOf(identity, action);
    let granted: Granted;
    try {
      granted = await this.policy.check(identity, action);
    } catch (error) {
      const { code, message } = toSciStreamError(error);
      const { rule, reason } = error instanceof Refusal ? error : { rule: undefined, reason: message };
      const line = { ...asked, decision: 'refused', rule, code, reason: shortened(reason) };
      const source = ownerOf(identity);
      if (action.kind === 'view') this.log.appendSeldom(keyOf(identity, code), line, source);
      else this.log.appendLimited(source, line);
      throw error;
    }
    const { rule = 'owner', targets, sources } = granted;
    const line = { ...asked, decision: 'allowed', rule, ...grantedEntry(targets, sources) };
    if (ALWAYS.has(action.kind) || !('stream' in action)) this.log.append(line);
    else this.log.appendSeldom(keyOf(identity, `${action.kind} ${action.stream.uid}`), line);
    return granted;
  }
}

/** Allowed actions with a line each. Others can be repeated without effect. */
const ALWAYS: ReadonlySet<Action['kind']> = new Set(['request', 'update', 'drain']);

/** Key of the entries of one caller that are combined. */
const keyOf = (identity: Identity, what: string): string => `${ownerOf(identity)} ${identity.peer ?? ''} ${what}`;
