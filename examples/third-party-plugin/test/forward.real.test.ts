// suite: full
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const FOLDER = fileURLToPath(new URL('../../../../examples/third-party-plugin', import.meta.url));

const s = suite('the example of a third-party plugin');

s('passes its own tests, the contract of a proxy among them', () => {
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { status, stdout } = spawnSync(process.execPath, ['--test', 'test/forward.test.js'], {
    cwd: FOLDER,
    encoding: 'utf8',
    env,
    timeout: 100_000,
  });
  assert.is(status, 0, stdout);
  assert.ok(Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0) > 20, stdout);
});

s('needs no build to be published: what package.json names is there', () => {
  const { exports, files } = JSON.parse(readFileSync(`${FOLDER}/package.json`, 'utf8')) as {
    exports: Record<string, string>;
    files: string[];
  };
  assert.ok(readFileSync(`${FOLDER}/${exports['.'] ?? ''}`, 'utf8').includes('definePlugin'));
  assert.equal(files, ['src']);
});

s.run();
