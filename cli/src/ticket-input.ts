import { createInterface } from 'node:readline';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** More than any ticket has, characters. */
const MAX_INPUT = 65_536;

/**
 * The ticket that is meant by the value of `--outbound`: `-` reads it from standard input, a line from a terminal and of
 * anything else the lines that are one, or all of it. A ticket among the arguments could be read there by others on this
 * machine, so it is blotted out.
 * @param ask Called before somebody has to type.
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

/** Somebody may have redirected all that `stream up --inbound` prints, and a mail may have broken the ticket into lines. */
const ticketIn = (text: string): string => /^scistream\d+\.\S*(?:\s+[\w.-]+[ \t\r]*$)*/m.exec(text)?.[0] ?? text;

async function readAll(input: Readable): Promise<string> {
  let text = '';
  for await (const chunk of input.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_INPUT) break;
  }
  return text;
}
