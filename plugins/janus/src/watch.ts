import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerState } from '@scistream/core';

/**
 * Polls a program until it has ended, because Janus has no event for that. Errors say nothing about the program, so
 * polling continues.
 * @param look Queries the state; may reject.
 * @param onTrouble Receives the errors of `look`.
 * @returns the last state. Rejects only when `signal` aborts, and then immediately.
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
      // A rebooted node restarted the container, and the program does not run in it.
      if (state?.status === 'created') return { ...state, status: 'exited', exit: 'its container was restarted' };
      if (state && state.status !== 'running') return state;
      await sleep(intervalMs, undefined, { signal });
    }
  };
  return await Promise.race([ended(), aborted]);
}
