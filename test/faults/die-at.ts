/**
 * Loaded into a daemon by `node --import`. Makes the daemon die as with `kill -9`, right before or right after a write to
 * its database. Every step of a stream is stored before it is done, so this reaches all steps. The file in
 * SCISTREAM_TEST_STEP selects the write: `2 after` allows two writes and kills after the third. Without the file nothing happens.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ClassicLevel } from 'classic-level';

const file = process.env.SCISTREAM_TEST_STEP ?? '';
const prototype = ClassicLevel.prototype;
const write = Reflect.get(prototype, 'batch') as (...args: unknown[]) => Promise<void>;

/** What to do at this write. */
function order(): string | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const [left = '', when = ''] = text.split(' ');
  if (left === '0') return when;
  writeFileSync(file, `${Number(left) - 1} ${when}`);
  return undefined;
}

const die = (): void => void process.kill(process.pid, 'SIGKILL');

async function batch(this: unknown, ...args: unknown[]): Promise<void> {
  const when = order();
  if (when === 'before') die();
  await write.apply(this, args);
  if (when === 'after') die();
}

Reflect.set(prototype, 'batch', batch);
