import { SciStreamError, type ErrorCode } from '../contracts/errors.js';

/** What a refusal says besides its message. */
export interface RefusalDetails {
  readonly suggestion: string;
  /** Which rule said no. */
  readonly rule?: string | undefined;
  /** Default SCI_FORBIDDEN. */
  readonly code?: ErrorCode;
  /** The same for the operator, with what is not the caller's business, such as the address that a name has here. */
  readonly reason?: string | undefined;
}

/** Why a policy refuses. Its message is for the caller. */
export class Refusal extends SciStreamError {
  readonly rule: string | undefined;
  /** For the audit log and the operator alone; no caller is told. */
  readonly reason: string;

  constructor(message: string, { suggestion, rule, code = 'SCI_FORBIDDEN', reason = message }: RefusalDetails) {
    super(code, message, { suggestions: [suggestion] });
    this.rule = rule;
    this.reason = reason;
  }

  /** As the operator may read it. */
  forOperator(): SciStreamError {
    return new SciStreamError(this.code, this.reason, { suggestions: this.suggestions });
  }
}
