// suite: full
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scistream, startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ facilities: Facilities }>('doctor, with facilities that run');

s.before(async (context) => {
  context.facilities = await startFacilities();
});
s.after(({ facilities }) => facilities.stop());

s('facilities that answer and are trusted are well, and their clocks are compared', async ({ facilities }) => {
  const { code, stdout } = await scistream(facilities, 'doctor');
  assert.is(code, 0, stdout);
  for (const name of ['aps', 'alcf']) {
    assert.match(stdout, new RegExp(`^ok +${name}: \\S+ answers: ${name}, version .*, relay in process\\.$`, 'm'));
    assert.match(stdout, new RegExp(`^ok +${name}: Its clock and this one agree\\.$`, 'm'));
  }
});

s('a certificate that is another one is a problem', async ({ facilities }) => {
  const config = JSON.parse(await readFile(facilities.config, 'utf8')) as { facilities: { aps: object } };
  const file = join(facilities.dir, 'wrong.yaml');
  const fingerprint = `sha256:${'ab'.repeat(32)}`;
  const aps = { ...config.facilities.aps, fingerprint };
  await writeFile(file, JSON.stringify({ facilities: { ...config.facilities, aps } }));
  const { code, stdout } = await scistream({ ...facilities, config: file }, 'doctor');
  assert.is(code, 1);
  assert.match(stdout, /^problem +aps: /m);
  assert.match(stdout, /^ok +alcf: /m);
});

s.run();
