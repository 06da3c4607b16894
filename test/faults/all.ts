import type { Fault } from './fault.js';
import { kills } from './kills.js';

/** Every fault of the suite, in the order of the table. */
export const FAULTS: readonly Fault[] = [...kills];
