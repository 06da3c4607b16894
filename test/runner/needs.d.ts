/** Whether a test may ask for this. */
export function isKnownNeed(need: string): boolean;
/** The needs this machine does not meet, each with what would help. */
export function unmetNeeds(needs: string[]): string[];
