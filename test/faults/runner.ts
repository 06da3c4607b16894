import { messageOf } from '@scistream/core';
import type * as needsModule from '../runner/needs.js';
import type { Fault, Result, Scale } from './fault.js';

/** The test runner is not TypeScript, and this file runs from `.build`. */
const { unmetNeeds } = (await import(
  new URL('../../../test/runner/needs.js', import.meta.url).href
)) as typeof needsModule;

/** Injects one fault. Never rejects. */
export async function runFault(fault: Fault, scale: Scale): Promise<Result> {
  const { fault: name, promised, needs } = fault;
  const missing = unmetNeeds([...needs]);
  if (missing.length > 0) return { fault: name, promised, seen: `needs ${missing.join(' and ')}`, verdict: 'not run' };
  try {
    return { fault: name, promised, seen: await fault.run(scale), verdict: 'kept' };
  } catch (error) {
    scale.say(error instanceof Error && error.stack ? error.stack : messageOf(error));
    return { fault: name, promised, seen: messageOf(error).split('\n', 1).join(), verdict: 'not kept' };
  }
}
