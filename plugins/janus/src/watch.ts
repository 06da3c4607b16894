import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerState } from '@scistream/core';

/**
 * Looks at a program again and again until it has ended; Janus has no event for that. Trouble on the way to it says
 * nothing about the program, so it is looked at again.
 * @param look Asks for its state; may reject.
 * @param onTrouble Gets what `look` rejected with.
 * @returns its last state. Rejects only when `signal` aborts, and then at once.
 */
export async function untilEnded(
  look: () => Promise<ContainerState>,
  intervalMs: number,
  signal: AbortSignal,
  onTrouble: (error: unknown) => void,
): Promise<ContainerState> {
  const aborted = new Promise<never>((_resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
  const ended = async (): Promise<ContainerState> => {
    for (;;) {
      signal.throwIfAborted();
      const state = await look().catch(onTrouble);
      // Its container was started once more, by a node that came back: the program does not run in it.
      if (state?.status === 'created') return { ...state, status: 'exited', exit: 'its container was started anew' };
      if (state && state.status !== 'running') return state;
      await sleep(intervalMs, undefined, { signal });
    }
  };
  return await Promise.race([ended(), aborted]);
}
