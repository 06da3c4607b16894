import { createInterface } from 'node:readline';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** Limit of the input in characters; tickets are shorter. */
const MAX_INPUT = 65_536;

/**
 * The ticket given with `--outbound`. `-` reads it from standard input: one line from a terminal, otherwise the lines of
 * the ticket within the input. A ticket in the arguments is visible to other users of this machine, so the process title
 * is overwritten.
 * @param ask Called before the user has to type.
 */
export async function readTicket(value: string, ask: () => void): Promise<string> {
  if (value !== '-') {
    process.title = 'scistream stream up --outbound …';
    return value;
  }
  if (!process.stdin.isTTY) return ticketIn(await readAll(process.stdin));
  ask();
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const [line = ''] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as [string?];
  lines.close();
  return line;
}

/** Finds a ticket in the complete output of `stream up --inbound`; a mail program may have broken it into lines. */
const ticketIn = (text: string): string => /^scistream\d+\.\S*(?:\s+[\w.-]+[ \t\r]*$)*/m.exec(text)?.[0] ?? text;

async function readAll(input: Readable): Promise<string> {
  let text = '';
  for await (const chunk of input.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_INPUT) break;
  }
  return text;
}
