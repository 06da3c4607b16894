// suite: full
// needs: zsh, fish
/** Completion in real shells, and what is offered for each word. */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home, REPOSITORY } from './support/cli.js';

const s = suite<{ home: Home }>('completion');

s.before(async (context) => {
  context.home = await Home.create();
  const { path, data } = context.home;
  const facilities = { aps: { s2cs: '127.0.0.1:1' }, alcf: { s2cs: '127.0.0.1:2' } };
  const streams = { tomo: { from: 'aps' } };
  await writeFile(join(path, 'scistream.config.yaml'), JSON.stringify({ facilities, streams }), { mode: 0o600 });
  const journal = join(path, 'state', 'scistream', 'streams');
  await mkdir(journal, { recursive: true, mode: 0o700 });
  const entry = (uid: string, name: string, expiresAt: string) =>
    writeFile(
      join(journal, `${uid}.json`),
      JSON.stringify({ uid, name, createdAt: '2026-01-01T00:00:00.000Z', expiresAt }),
      { mode: 0o600 },
    );
  await entry('11111111-live', 'beam-7', '2999-01-01T00:00:00.000Z');
  await entry('22222222-unnamed', '', '2999-01-01T00:00:00.000Z');
  await entry('33333333-ended', 'old', '2026-01-02T00:00:00.000Z');
  // The scripts find the program in the PATH.
  const script = `#!/bin/sh\nexec ${process.execPath} ${join(REPOSITORY, 'cli/bin/run.js')} "$@"\n`;
  await mkdir(data, { recursive: true });
  await writeFile(join(data, 'scistream'), script, { mode: 0o700 });
});
s.after(({ home }) => home.remove());

const offered = async (home: Home, ...words: string[]): Promise<readonly string[]> =>
  (await home.run(['complete', '--', ...words])).stdout.split('\n').filter(Boolean);

s('commands, flags, values and names are offered, and nothing is asked over the network', async ({ home }) => {
  assert.ok((await offered(home, 'str')).includes('stream'));
  assert.not.ok((await offered(home, 'comp')).includes('complete'), 'a hidden command');
  assert.equal(await offered(home, 'stream', 'up', '--from', 'a'), ['alcf', 'aps']);
  assert.equal(await offered(home, 'stream', 'up', ''), ['tomo']);
  assert.equal(await offered(home, 'stream', 'up', '--to', 'alcf', '--encryption', ''), ['none', 'tls']);
  assert.ok((await offered(home, 'stream', 'up', '--proxy', 'r')).includes('relay'));
  assert.ok((await offered(home, 'stream', 'up', '--con')).includes('--connections'));
  assert.equal(await offered(home, 'stream', 'down', 'beam-7', ''), ['22222222-unnamed', 'beam-7']);
  assert.equal(await offered(home, 'stream', 'status', 'x', ''), [], 'it has one argument');
  assert.equal(await offered(home, 'whoami', '--config', 'missing.yaml', ''), []);
});

s('words of other programs suggest ours', async ({ home }) => {
  const suggestion = async (...words: string[]) => (await home.failure(...words)).suggestions[0];
  for (const [words, expected] of [
    ['stream list', 'stream ls'],
    ['stream stop x', 'stream down'],
    ['plugin remove x', 'plugin uninstall'],
    ['status', 'stream status'],
    ['stream sttus', 'stream status'],
    ['frobnicate', '--help'],
  ] as const)
    assert.is(await suggestion(...words.split(' ')), `scistream ${expected}`);
});

/** Runs a script in a shell whose PATH begins with `scistream`. */
async function shell({ path, data }: Home, program: string, script: string): Promise<readonly string[]> {
  const env = {
    ...process.env,
    PATH: `${data}:${process.env['PATH'] ?? ''}`,
    HOME: path,
    SCISTREAM_STATE_DIR: '',
    XDG_STATE_HOME: join(path, 'state'),
    SCISTREAM_CONFIG_DIR: join(path, 'config'),
  };
  const { stdout } = await promisify(execFile)(program, ['-c', script], { env, cwd: path, timeout: 60_000 });
  return stdout.split('\n').filter(Boolean);
}

s('bash', async ({ home }) => {
  const script = `source <(scistream completion bash)
    COMP_WORDS=(scistream stream down beam) COMP_CWORD=3; _scistream; printf '%s\\n' "\${COMPREPLY[@]}"
    complete -p scistream`;
  assert.equal(await shell(home, 'bash', script), ['beam-7', 'complete -o default -F _scistream scistream']);
});

s('zsh', async ({ home }) => {
  // Outside of the line editor, compdef and compadd are what the test says.
  const script = `compdef() { print -l "compdef $*" }; compadd() { print -l "$@[2,-1]" }; _files() { print files }
    source <(scistream completion zsh)
    words=(scistream stream up --from a) CURRENT=5; _scistream
    words=(scistream config check '') CURRENT=4; _scistream`;
  assert.equal(await shell(home, 'zsh', script), ['compdef _scistream scistream', 'alcf', 'aps', 'files']);
});

s('fish', async ({ home }) => {
  const script = `scistream completion fish | source; complete -C 'scistream stream up --from a'; complete -C 'scistream config check scist'`;
  assert.equal(await shell(home, 'fish', script), ['alcf', 'aps', 'scistream.config.yaml']);
});

s.run();
