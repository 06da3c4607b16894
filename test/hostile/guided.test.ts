// suite: full
/** The guided fuzzer finds what random input does not, and finds nothing in our parsers. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fuzz, type Target } from './guided.js';
import { TARGETS } from './guided-targets.js';

const s = suite('guided');

const SHORT_MS = 2_000;
/** The search needs about 3 s, and ends as soon as it is successful. */
const PATIENCE_MS = 150_000;

/** Opens for one of 2^40 inputs of its length, and gives no hint how close an input is. */
function lock(input: Buffer): void {
  if (input[0] !== 0x6f) return;
  if (input[1] !== 0x70) return;
  if (input[2] !== 0xff) return;
  if (input[3] !== 0x00) return;
  if (input[4] === 0x6e) throw new Error('open');
}

const LOCK: Target = { seeds: [Buffer.from('xxxxx')], words: [], code: /guided\.test\.js$/, take: lock };

s('follows the code step by step', async () => {
  const { defect, kept } = await fuzz(LOCK, { ms: PATIENCE_MS, seed: 1 });
  assert.is(defect?.input.subarray(0, 5).toString('latin1'), 'op\xff\0n');
  assert.ok(kept >= 4, `${kept} inputs were kept`);
});

s('does not find it without seeing the code', async () => {
  const blind = await fuzz({ ...LOCK, code: /nothing/ }, { ms: SHORT_MS, seed: 1 });
  assert.equal([blind.defect, blind.kept], [undefined, 0]);
});

for (const [name, target] of Object.entries(TARGETS)) {
  s(`finds nothing in: ${name}`, async () => {
    const { defect, tried, kept, covered } = await fuzz(target, { ms: SHORT_MS, seed: 2026 });
    if (defect) throw new Error(JSON.stringify(defect.input.toString('latin1')), { cause: defect.error });
    assert.ok(tried > 100 && kept > 0 && covered > 100, JSON.stringify({ tried, kept, covered }));
  });
}

s.run();
