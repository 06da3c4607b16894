/**
 * Searches for input that breaks a parser, guided by coverage:
 *
 *     npm run fuzz -- address|ticket|frames [--seconds 30] [--seed N]
 *
 * Prints the input and ends with exit code 1 if it finds one.
 */
import { parseArgs } from 'node:util';
import { prepareOrExit } from '../setup.js';

prepareOrExit();
const { fuzz } = await import('../../.build/test/hostile/guided.js');
const { TARGETS } = await import('../../.build/test/hostile/guided-targets.js');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '30' }, seed: { type: 'string' } },
});
const target = TARGETS[positionals[0]];
const seconds = Number(values.seconds);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
if (!target || !(seconds > 0) || !Number.isInteger(seed)) {
  process.stderr.write(`Usage: npm run fuzz -- ${Object.keys(TARGETS).join('|')} [--seconds 30] [--seed N]\n`);
  process.exit(2);
}
const { defect, ...counts } = await fuzz(target, { ms: 1000 * seconds, seed });
process.stdout.write(`${JSON.stringify({ target: positionals[0], seed, ...counts })}\n`);
if (defect) {
  process.stdout.write(`${JSON.stringify(defect.input.toString('latin1'))}\n${defect.error.stack}\n`);
  process.exit(1);
}
