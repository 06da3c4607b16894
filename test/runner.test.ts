import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const RUNNER = fileURLToPath(new URL('../../test/run.js', import.meta.url));
const CI = fileURLToPath(new URL('../../.ci/run', import.meta.url));
const UVU = `import { suite } from '${import.meta.resolve('uvu')}'; const s = suite('sample');`;

interface Outcome {
  readonly exit: number;
  readonly lines: readonly string[];
  readonly last: string;
}

interface Options {
  readonly arguments?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, args, { env }, (error, stdout) => {
      const lines = stdout.trimEnd().split('\n');
      resolve({ exit: Number(error?.code ?? 0), lines, last: lines.at(-1) ?? '' });
    });
  });
}

/** Runs the runner on test files with this content (path → JavaScript). */
async function runTests(files: Readonly<Record<string, string>>, options: Options = {}): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'r-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
    const args = [RUNNER, '--in', folder, ...(options.arguments ?? [])];
    return await run(process.execPath, args, { ...process.env, CI: '', ...options.env });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a file and expects one failure with this reason. */
async function assertFails(
  text: string,
  reason: RegExp,
  last = '0 passed, 1 failed',
  args: string[] = [],
): Promise<void> {
  const outcome = await runTests({ 'sample.test.js': text }, { arguments: args });
  assert.is(outcome.last, last);
  assert.is(outcome.exit, 1);
  assert.match(outcome.lines.join('\n'), reason);
}

const counting = suite('test runner: counting');

counting('adds up the tests of all files and exits with 0', async () => {
  const outcome = await runTests({
    'a.test.js': `${UVU} s('one', () => {}); s('two', () => {}); s.run();`,
    'b/c.test.js': `${UVU} s('three', () => {}); s.run();`,
    'd.real.test.js': `${UVU} s('four', () => {}); s.run();`,
  });
  assert.is(outcome.last, '4 passed, 0 failed');
  assert.is(outcome.exit, 0);
  assert.is(outcome.lines.length, 4, 'one line for each file and one at the end');
});

counting('runs two real files at any time', async () => {
  // Each file ends when it sees the mark of the other one, so both must run at the same time.
  const meets = (own: string, other: string): string => `${UVU}
    import { existsSync, writeFileSync } from 'node:fs';
    s('meets', async () => {
      writeFileSync(new URL('${own}', import.meta.url), '');
      for (const end = Date.now() + 60_000; !existsSync(new URL('${other}', import.meta.url)); ) {
        if (Date.now() > end) throw new Error('the other file did not run');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    s.run();`;
  const outcome = await runTests({ 'a.real.test.js': meets('a', 'b'), 'b.e2e.test.js': meets('b', 'a') });
  assert.is(outcome.last, '2 passed, 0 failed');
});

counting('counts a failing test once and shows what it printed', async () => {
  await assertFails(
    `${UVU} s('good', () => {}); s('bad', () => { throw new Error('xyzzy'); }); s.run();`,
    /xyzzy/,
    '1 passed, 1 failed',
  );
});

counting('prints the results of the contract kit as a table, followed by failed cases', async () => {
  const report = (proxy: string, runtime: string, ok?: boolean, reason?: string): string =>
    JSON.stringify(`${JSON.stringify({ proxy, runtime, case: 'carries', ok, reason })}\n`);
  const writes = (...lines: string[]): string =>
    `import { appendFileSync } from 'node:fs'; ${UVU} s('one', () => { for (const line of [${lines.join()}])
      appendFileSync(process.env.SCISTREAM_CONTRACT_REPORT + '/x.jsonl', line); }); s.run();`;
  const { lines } = await runTests({
    'a.test.js': writes(report('relay', 'process', true), report('relay', 'process', false)),
    'b.test.js': writes(
      report('haproxy', 'docker', true),
      report('haproxy', 'docker', undefined, 'it is slow'),
      report('relay', 'janus', undefined, 'it is slow'),
      report('a → b', 'process', true, 'it loses bytes'),
    ),
  });
  assert.equal(lines.slice(2, -1), [
    '',
    '| contract | docker | janus | process |',
    '| --- | --- | --- | --- |',
    '| haproxy | 1/1 | – | – |',
    '| relay | – | – | 1/2 |',
    '',
    '| contract | process |',
    '| --- | --- |',
    '| a → b | 1/1 |',
    '',
    '- carries: not tried, it is slow (haproxy on docker, relay on janus)',
    '- carries: within limits, it loses bytes (a → b on process)',
    '',
    '- failed: relay on process: carries',
  ]);
});

counting('counts skipped tests', async () => {
  const outcome = await runTests({ 'a.test.js': `${UVU} s('one', () => {}); s.skip('two', () => {}); s.run();` });
  assert.is(outcome.last, '1 passed, 0 failed, 1 skipped');
});

counting('runs only files whose path contains the argument', async () => {
  const text = `${UVU} s('one', () => {}); s.run();`;
  const outcome = await runTests({ 'a.test.js': text, 'b/a.test.js': text, 'c.test.js': text }, { arguments: ['b/a'] });
  assert.is(outcome.last, '1 passed, 0 failed');
});

counting('runs only files of the selected kind', async () => {
  const text = `${UVU} s('one', () => {}); s.run();`;
  const files = { 'a.test.js': text, 'b.real.test.js': text, 'c.e2e.test.js': text };
  assert.is((await runTests(files, { arguments: ['--fast'] })).last, '1 passed, 0 failed');
  assert.is((await runTests(files, { arguments: ['--real'] })).last, '2 passed, 0 failed');
});

counting('runs each file in one of two suites, and in any suite where files are selected', async () => {
  const test = (name: string): string => `${UVU} s('${name}', () => {}); s.run();`;
  const files = {
    'a.test.js': test('a'),
    'b.test.js': `// suite: full\n${test('b')}`,
    'c.real.test.js': `// needs: root\n// suite: full\n${test('c')}`,
    'd.e2e.test.js': test('d'),
  };
  const ran = async (...args: string[]): Promise<readonly string[]> => {
    const { lines } = await runTests(files, { arguments: args });
    return lines.flatMap((line) => /^[✔-] (\w)\./.exec(line)?.[1] ?? []).sort();
  };
  assert.equal(await ran(), ['a', 'd']);
  assert.equal(await ran('--full'), ['b', 'c']);
  assert.equal(await ran('--fast'), ['a', 'b']);
  assert.equal(await ran('b.test', 'd.e2e'), ['b', 'd']);
});

counting('fails if no file matches', async () => {
  const outcome = await runTests({ 'a.test.js': `${UVU} s('one', () => {}); s.run();` }, { arguments: ['nowhere'] });
  assert.is(outcome.last, '0 passed, 1 failed');
  assert.is(outcome.exit, 1);
});

counting.run();

const traps = suite('test runner: what uvu lets through');

traps('a file without tests fails', () => assertFails(`${UVU} s.run();`, /has no test/));

traps('a file that never calls run() fails', () => assertFails(`${UVU} s('one', () => {});`, /is run\(\) missing/));

traps('a second suite that is never run fails', () =>
  assertFails(
    `${UVU}\nconst other = suite('other'); s('one', () => {}); other('two', () => {}); s.run();`,
    /other\.run\(\) is missing/,
    '1 passed, 1 failed',
  ),
);

traps('a hook that throws fails', () =>
  assertFails(
    `${UVU} s.before(() => { throw new Error('no'); }); s('one', () => {}); s('two', () => {}); s.run();`,
    /2 of 2 tests did not run: a hook threw/,
  ),
);

traps('an open handle fails at the limit', () =>
  assertFails(
    `${UVU} s('one', () => { setInterval(() => {}, 1000); }); s.run();`,
    /keeps the process open/,
    '1 passed, 1 failed',
    ['--limit', '1'],
  ),
);

traps('a test that never settles fails', () =>
  assertFails(`${UVU} s('one', () => new Promise(() => {})); s.run();`, /before all tests had run/),
);

traps('a rejection after the tests fails', () =>
  assertFails(
    `${UVU} s('one', () => { setTimeout(() => Promise.reject(new Error('late')), 50); }); s.run();`,
    /after its tests had passed/,
    '1 passed, 1 failed',
  ),
);

traps('a file that cannot be loaded fails', () => assertFails(`import './nowhere.js';`, /before all tests had run/));

traps.run();

const isolation = suite('test runner: isolation');

isolation('a child that outlives its test is ended and fails the file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pid-'));
  const pidFile = join(folder, 'pid');
  await assertFails(
    `${UVU} import { spawn } from 'node:child_process'; import { writeFileSync } from 'node:fs';
    s('one', () => {
      const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
      child.unref();
      writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
    });
    s.run();`,
    /left processes behind: \d+ sleep 600/,
    '1 passed, 1 failed',
  );
  // A killed process remains as a zombie until it is reaped, and a zombie has no command line (proc(5)).
  const remains = await readFile(`/proc/${await readFile(pidFile, 'utf8')}/cmdline`, 'utf8').catch(() => '');
  assert.is(remains, '');
});

isolation('each file has its own home, which is removed afterwards', async () => {
  const text = `${UVU} import { existsSync, writeFileSync } from 'node:fs'; import { homedir, tmpdir } from 'node:os';
    s('one', () => {
      const folders = [homedir(), tmpdir(), ...['DATA', 'CONFIG', 'CACHE', 'STATE'].map((name) => process.env['SCISTREAM_' + name + '_DIR'])];
      if (new Set(folders).size !== 6 || !folders.every(existsSync)) throw new Error('missing');
      if (process.env.SCISTREAM_TOKEN !== undefined) throw new Error('a setting of the developer reached a test');
      if (existsSync(homedir() + '/mark')) throw new Error('shared');
      writeFileSync(homedir() + '/mark', '');
      console.log('home=' + homedir());
      if (process.env.SCISTREAM_TEST_SHOW === '1') throw new Error('show');
    });
    s.run();`;
  const env = { SCISTREAM_TOKEN: 'x', SCISTREAM_TEST_SHOW: '1' };
  const outcome = await runTests({ 'a.test.js': text, 'b.test.js': text }, { env });
  const homes = outcome.lines.flatMap((line) => /home=(.*)$/.exec(line)?.[1] ?? []);
  assert.is(new Set(homes).size, 2);
  assert.equal(homes.filter(existsSync), []);
});

isolation.run();

const needs = suite('test runner: needs');

needs('a file whose needs are not met is skipped with the reason, and fails with CI=true', async () => {
  const files = { 'a.test.js': `// needs: python3-grpc\n${UVU} s('one', () => {}); s.run();` };
  const broken = { PYTHONHOME: '/nowhere' };
  const skipped = await runTests(files, { env: broken });
  assert.is(skipped.last, '0 passed, 0 failed, 1 skipped');
  assert.is(skipped.exit, 0);
  assert.match(skipped.lines[0] ?? '', /skipped: needs python3-grpc \(apt-get install python3-grpcio\)/);
  const failed = await runTests(files, { env: { ...broken, CI: 'true' } });
  assert.is(failed.last, '0 passed, 1 failed');
  assert.is(failed.exit, 1);
});

needs('an unknown need fails', () =>
  assertFails(`// needs: a-pony\n${UVU} s('one', () => {}); s.run();`, /needs a-pony, which/),
);

needs.run();

const ci = suite('continuous integration');

/** Runs .ci/run with these shell scripts in place of npm and node. */
async function runCi(npm: string, node = 'true'): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'ci-'));
  try {
    for (const [name, script] of Object.entries({ npm, node })) {
      await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    }
    return await run(CI, [], { ...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}` });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

ci('the last line sums up both suites, and other stages that fail', async () => {
  const suites = 'case "$*" in test) echo "5 passed, 0 failed, 1 skipped";; *test:full) echo "7 passed, 0 failed";; ';
  const good = await runCi(`${suites} esac`);
  assert.equal([good.exit, good.last], [0, '12 passed, 0 failed, 1 skipped']);
  const bad = await runCi(`${suites} *lint) exit 1;; esac`, 'exit 1');
  assert.equal([bad.exit, bad.last], [1, '12 passed, 2 failed, 1 skipped']);
});

ci('a suite that fails, or ends without a summary, fails the run', async () => {
  const full = async (script: string): Promise<Outcome> =>
    runCi(`case "$*" in test) echo "5 passed, 0 failed";; *test:full) ${script};; esac`);
  for (const [script, last] of [
    ['echo "3 passed, 2 failed"; exit 1', '8 passed, 2 failed'],
    ['echo "3 passed, 0 failed"; exit 1', '8 passed, 1 failed'],
    ['exit 0', '5 passed, 1 failed'],
  ] as const) {
    const outcome = await full(script);
    assert.equal([outcome.exit, outcome.last], [1, last], script);
  }
});

ci.run();
