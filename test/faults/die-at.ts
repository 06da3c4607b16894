/**
 * Given to a daemon by `node --import`: makes it die as `kill -9` does, right before or right after a write to its
 * database. Every step of a stream is written before it is taken, so that this reaches all of them. The file that
 * SCISTREAM_TEST_STEP names tells which: `2 after` lets two writes pass and dies after the third; no file, no death.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ClassicLevel } from 'classic-level';

const file = process.env.SCISTREAM_TEST_STEP ?? '';
const prototype = ClassicLevel.prototype;
const write = Reflect.get(prototype, 'batch') as (...args: unknown[]) => Promise<void>;

/** What is to happen at this write. */
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
