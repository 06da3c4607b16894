// needs: docker, root
// suite: full
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testEngine } from './support/engine.js';

const s = suite('the container engine of tests');

s('answers on a socket of its own and is never the one of this machine', async () => {
  await using engine = await testEngine();
  assert.match(engine.host, /^unix:\/\/\/tmp\/sce-/);
  assert.ok(existsSync(engine.host.slice('unix://'.length)));
});

s.run();
