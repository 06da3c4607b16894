/**
 * Loaded into a daemon by `node --import`. The wall clock is ahead by the number of ms in the file of
 * SCISTREAM_TEST_CLOCK, as soon as the file exists. Timers are not affected, as when a clock is set: they follow
 * CLOCK_MONOTONIC.
 */
import { readFileSync } from 'node:fs';

const file = process.env.SCISTREAM_TEST_CLOCK ?? '';
const RealDate = Date;

function offsetMs(): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
}

const now = (): number => RealDate.now() + offsetMs();

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[], self) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, self) as object,
  apply: () => new RealDate(now()).toString(),
  get: (target, key) => (key === 'now' ? now : (Reflect.get(target, key) as unknown)),
});
