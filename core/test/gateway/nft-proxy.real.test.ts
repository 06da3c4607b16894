// suite: full
// needs: nft, root, netns
/** Rules of the kernel that outlive their gateway, which is killed at many moments of a release. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Namespaces } from '../../../test/support/namespaces.js';

const s = suite('proxy of kernel rules');

const SCENARIO = fileURLToPath(new URL('../support/nft-scenario.js', import.meta.url));
const ROUNDS = 50;

s('no consumer of another stream reaches the producer of a stream whose release was interrupted', async () => {
  await using namespaces = await Namespaces.make('gateway');
  const [program = '', ...args] = [...namespaces.prefix('gateway'), process.execPath, SCENARIO, String(ROUNDS)];
  const { stdout } = await promisify(execFile)(program, args);
  const rounds = stdout.trimEnd().split('\n');
  assert.is(rounds.length, ROUNDS);
  assert.equal(
    rounds.filter((round) => !/^0 of [1-8]$/.test(round)),
    [],
  );
});

s.run();
