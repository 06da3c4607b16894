import { clocks } from './clock.js';
import { loads } from './cycles.js';
import { engineKilled } from './engine.js';
import type { Fault } from './fault.js';
import { kills } from './kills.js';
import { messages } from './messages.js';
import { resources } from './resources.js';
import { steps } from './steps.js';

/** All faults, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...kills,
  engineKilled,
  ...steps,
  ...messages,
  ...clocks,
  ...resources,
  ...loads,
];
