/** The default state directory of users whose home several hosts share. */
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { s2csSchema } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';

const s = suite('default state directory');

s('it names the host; an earlier directory stays in use unless it belongs to another host', async () => {
  const home = await temporaryDirectory();
  const stateHome = home.path;
  const state = (): string => s2csSchema({ directory: '/', hostName: 'login1', stateHome }).parse({}).state;
  const own = join(stateHome, 'login1', 's2cs');
  const earlier = join(stateHome, 's2cs');
  const lock = (host: string): Promise<void> => writeFile(join(earlier, 'lock'), JSON.stringify({ host }));
  assert.is(state(), own);
  await mkdir(earlier);
  assert.is(state(), earlier);
  await lock(hostname());
  assert.is(state(), earlier);
  await lock('login2');
  assert.is(state(), own);
  await lock(hostname());
  await mkdir(own, { recursive: true });
  assert.is(state(), own, 'once it exists');
  assert.is(s2csSchema({ directory: '/', hostName: 'a', stateHome: '/var/lib' }).parse({}).state, '/var/lib/scistream');
  await home.remove();
});

s.run();
