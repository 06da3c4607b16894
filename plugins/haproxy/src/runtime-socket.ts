import { addAbortSignal, type Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { messageOf, quote, S2DSException, within, type ContainerRef, type ContainerRuntime } from '@scistream/core';

/** Name of HAProxy's runtime socket in the directory of its instance. */
export const RUNTIME_SOCKET = 'haproxy.sock';

const DEADLINE_MS = 10_000;

/** What a word of a command may consist of: nothing that ends it or starts another one (management guide §9.3). */
const WORD = /^[\w.:/@-]+$/;

const CHANGE = "(IP|port) changed from '[^']+' to '[^']+'|no need to change the (addr|port)";
const RETARGETED = new RegExp(`^(nothing changed|(${CHANGE})(, (${CHANGE}))?)( by '[^']+')?$`);

/**
 * Whether HAProxy has obeyed `set server … addr … port …`. Version 2.6 speaks of address and port in any case, 3.0 only
 * of what has changed; anything else is an error, also after a first half that was fine.
 */
export const isRetargeted = (reply: string): boolean => RETARGETED.test(reply);

/**
 * Sends one command to the runtime API of an instance, on a connection of its own, and returns the whole reply. HAProxy
 * has no exit codes: the caller must match the text. Any number of calls may overlap (`stats maxconn` is 10; more wait).
 * @param words The command in words; a word that could smuggle in a second command is refused before anything is sent.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED also when there is no answer within 10 s.
 */
export async function ask(runtime: ContainerRuntime, ref: ContainerRef, words: readonly string[]): Promise<string> {
  const bad = words.find((word) => !WORD.test(word));
  if (bad !== undefined) throw commandFailed(words, `${quote(bad)} cannot be part of a command`);
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const talk = async (): Promise<string> => {
    const socket: Duplex = addAbortSignal(deadline, await runtime.dial(ref, RUNTIME_SOCKET));
    socket.end(`${words.join(' ')}\n`);
    return (await text(socket)).trim();
  };
  try {
    return await within(talk(), DEADLINE_MS, () => new Error(`no answer in ${DEADLINE_MS} ms`));
  } catch (error) {
    throw commandFailed(words, messageOf(error), error);
  }
}

/** The error for a command that HAProxy refused, or that could not be sent. */
export function commandFailed(words: readonly string[], why: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `HAProxy, asked ${quote(words.join(' '))}: ${why}.`, {
    cause,
    suggestions: ['Try again; if it stays, release the stream and make it again.'],
  });
}
