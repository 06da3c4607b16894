import { SciStreamError, type ErrorCode } from '../contracts/errors.js';

/** Details of a refusal besides its message. */
export interface RefusalDetails {
  readonly suggestion: string;
  /** The rule that decided. */
  readonly rule?: string | undefined;
  /** Default SCI_FORBIDDEN. */
  readonly code?: ErrorCode;
  /** The message for the operator, with details hidden from the caller, such as the address of a name. */
  readonly reason?: string | undefined;
}

/** The refusal of a policy. Its message is for the caller. */
export class Refusal extends SciStreamError {
  readonly rule: string | undefined;
  /** Only for the audit log and the operator. */
  readonly reason: string;

  constructor(message: string, { suggestion, rule, code = 'SCI_FORBIDDEN', reason = message }: RefusalDetails) {
    super(code, message, { suggestions: [suggestion] });
    this.rule = rule;
    this.reason = reason;
  }

  /** The error with the message for the operator. */
  forOperator(): SciStreamError {
    return new SciStreamError(this.code, this.reason, { suggestions: this.suggestions });
  }
}
