import type { Interceptor } from '@connectrpc/connect';
import { printableLine } from '../contracts/errors.js';

/**
 * Makes every text in the answers of a server printable, on one line: a hostile server could otherwise control the
 * terminal of the user or forge lines of output. No answer has a text of several lines. Errors are made printable where
 * they are converted, by `fromConnectError`.
 */
export const printableAnswers: Interceptor = (next) => async (request) => {
  const response = await next(request);
  if (!response.stream) return { ...response, message: printed(response.message) };
  return { ...response, message: printedAll(response.message) };
};

async function* printedAll<T extends object>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const message of messages) yield printed(message);
}

/** Replaces the texts of a message that was just received. */
function printed<T extends object>(message: T): T {
  for (const [key, value] of Object.entries(message) as [string, unknown][]) {
    if (typeof value === 'string') Reflect.set(message, key, printableLine(value));
    else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) printed(value);
  }
  return message;
}
