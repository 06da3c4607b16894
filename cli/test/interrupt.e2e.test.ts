// suite: full
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { spawn } from 'node:child_process';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { poll } from '@scistream/core';
import type { StreamList } from '@scistream/core/client';
import { cleanUp, json, start, startFacilities, type Facilities } from './support/facilities.js';

/** Makes a command print its progress as on a terminal. */
const TERMINAL = {
  NODE_OPTIONS: '--import data:text/javascript,process.stderr.isTTY=true;process.stderr.getWindowSize=()=>[200,50]',
};
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const s = suite<{ facilities: Facilities }>('commands that are interrupted or cannot print');

s.before(async (context) => {
  context.facilities = await startFacilities();
});
s.after(async ({ facilities }) => facilities.stop());
s.after.each(async ({ facilities }) => void (await cleanUp(facilities)));

const UP = ['stream', 'up', 'tomo', '--producer', '127.0.0.1:9'];

/** Runs a command, and sends a signal after the progress line that begins with `after`. */
async function interrupted(facilities: Facilities, args: string[], signal: NodeJS.Signals, after: string) {
  const env = { ...facilities.env, ...TERMINAL };
  const { outcome, child } = start({ ...facilities, env }, 'run', [...args, '--config', facilities.config]);
  const lines = createInterface({ input: child.stderr });
  lines.on('line', (line) => line.startsWith(after) && child.kill(signal));
  return await outcome;
}

const streams = async (facilities: Facilities): Promise<readonly object[]> =>
  (await json<StreamList>(facilities, 0, 'stream', 'ls')).streams;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  for (const line of ['✔ reserved   aps', '✔ reserved   alcf', '✔ encrypted', '✔ verified']) {
    s(`${signal} after "${line}" releases the stream, or its result has been printed`, async ({ facilities }) => {
      const { code, stdout, stderr } = await interrupted(facilities, UP, signal, line);
      assert.match(stderr, line);
      const left = await streams(facilities);
      if (left.length === 0) {
        assert.is(code, SIGNALS[signal], stderr);
        assert.match(stderr, 'Nothing of the stream remains.');
      } else {
        assert.match(stdout, 'is ready', 'a stream stays only if the user knows it');
        assert.is.not(code, 0);
      }
    });
  }
}

s('Ctrl-C while a stream waits for HELLO releases it', async ({ facilities }) => {
  const running = start(facilities, 'run', [...UP, '--await-hello', '--config', facilities.config]);
  const waiting = async (): Promise<true | undefined> =>
    (await streams(facilities)).some((one) => 'state' in one && one.state === 'waiting') || undefined;
  await poll(waiting, { timeoutMs: 30_000 }, () => new Error('the stream never waited for HELLO'));
  running.interrupt();
  const { code, stderr } = await running.outcome;
  assert.equal([code, await streams(facilities)], [130, []], stderr);
});

/** Runs a command whose stdout is a full disk, or a pipe that its reader has closed. */
async function unprinted(facilities: Facilities, to: 'full' | 'closed', args: readonly string[]) {
  const [file = '', ...rest] = [process.execPath, 'cli/bin/run.js', ...args, '--config', facilities.config];
  const full = await open('/dev/full', 'w');
  const child = spawn(file, rest, {
    env: facilities.env,
    stdio: ['ignore', to === 'full' ? full.fd : 'pipe', 'pipe'],
  });
  child.stdout?.destroy();
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  await full.close();
  return { code, stderr };
}

for (const to of ['full', 'closed'] as const) {
  s(`up releases a stream whose result or ticket is lost (${to})`, async ({ facilities }) => {
    const ticket = ['stream', 'up', '--inbound', '--from', 'aps', '--producer', '127.0.0.1:9'];
    for (const args of [UP, ticket]) {
      for (const more of [[], ['--json'], ['--quiet']]) {
        const { code, stderr } = await unprinted(facilities, to, [...args, ...more]);
        assert.is(code, 74, stderr);
        assert.match(stderr, /The stream was released\. \[SCI_OUTPUT_WRITE\]/);
        assert.equal(await streams(facilities), []);
      }
    }
    assert.equal(await readdir(join(facilities.dir, 'state', 'scistream', 'streams')), []);
  });

  s(`a command that cannot print its result fails (${to})`, async ({ facilities }) => {
    for (const args of [
      ['stream', 'ls'],
      ['stream', 'ls', '--json'],
      ['gateway', 'ls', '--s2cs', 'aps'],
      ['config', 'show', '--json'],
      ['proxies'],
    ]) {
      const { code, stderr } = await unprinted(facilities, to, args);
      assert.is(code, 74, `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, /\[SCI_OUTPUT_WRITE\]/);
      assert.not.match(stderr, 'SCI_BUG');
    }
  });
}

s.run();
