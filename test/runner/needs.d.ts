/** Whether a test may declare this need. */
export function isKnownNeed(need: string): boolean;
/** The needs that this machine does not meet, each with the command that would help. */
export function unmetNeeds(needs: string[]): string[];
