// needs: docker, root
// suite: full
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS } from '@scistream/core';
import { testEngine } from '../../../test/support/engine.js';
import { Fixture, READY, specOf } from './support.js';

const s = suite('docker runtime with many instances');

s('25 instances at once', async () => {
  await using engine = await testEngine();
  await using fixture = await Fixture.make(engine.host);
  const specs = Array.from({ length: 25 }, () => specOf(READY));
  const enough = new AbortController();
  await Promise.all(specs.map((spec) => fixture.create(spec)));
  await Promise.all(specs.map((spec) => fixture.runtime.start(spec, spec)));
  const watching = specs.map((spec) => fixture.runtime.exited(spec, enough.signal));
  assert.is((await fixture.runtime.list({ [LABELS.owner]: 'test' })).length, 25);
  await Promise.all(specs.map((spec) => fixture.runtime.stop(spec, 1_000)));
  assert.equal(new Set((await Promise.all(watching)).map(({ exit }) => exit)), new Set(['signal SIGTERM']));
  await Promise.all(specs.map((spec) => fixture.runtime.remove(spec)));
  assert.equal(await fixture.runtime.list({ [LABELS.owner]: 'test' }), []);
});

s.run();
