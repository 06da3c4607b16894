import { addAbortSignal, type Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  formatDuration,
  messageOf,
  quote,
  S2DSException,
  within,
  type ContainerRef,
  type ContainerRuntime,
} from '@scistream/core';

/** Name of HAProxy's runtime socket in the directory of its instance. */
export const RUNTIME_SOCKET = 'haproxy.sock';

const DEADLINE_MS = 10_000;

/** Allowed characters of a command word. They cannot end a command or start another one (management guide §9.3). */
const WORD = /^[\w.:/@()-]+$/;

const CHANGE = "(IP|port) changed from '[^']+' to '[^']+'|no need to change the (addr|port)";
const RETARGETED = new RegExp(`^(nothing changed|(${CHANGE})(, (${CHANGE}))?)( by '[^']+')?$`);

/**
 * Whether HAProxy has executed `set server … addr … port …`. Version 2.6 always reports address and port, 3.0 only
 * changes. Any other reply is an error, even after a successful first half.
 */
export const isRetargeted = (reply: string): boolean => RETARGETED.test(reply);

/**
 * Sends one command to the runtime API of an instance on a new connection and returns the whole reply. HAProxy has no
 * exit codes, so the caller must match the text. Calls may overlap (`stats maxconn` is 10; further ones wait).
 * @param words The words of the command; a word that could inject a second command is rejected before anything is sent.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED, also without a reply within 10 s
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
    return await within(talk(), DEADLINE_MS, () => new Error(`no answer in ${formatDuration(DEADLINE_MS)}`));
  } catch (error) {
    throw commandFailed(words, messageOf(error), error);
  }
}

/** The error for a command that failed or could not be sent. */
export function commandFailed(words: readonly string[], why: string, cause?: unknown): S2DSException {
  return new S2DSException(
    'SCI_PROXY_COMMAND_FAILED',
    `The HAProxy command ${quote(words.join(' '))} failed: ${why}.`,
    {
      cause,
      suggestions: ['Retry the update. If it fails again, release the stream and create it again.'],
    },
  );
}
