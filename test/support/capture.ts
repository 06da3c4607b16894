import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { eventually, temporaryDirectory } from '@scistream/core/testing';

/** KiB; more than any test sends, so that the kernel drops no packet while tcpdump is not scheduled. */
const BUFFER = 65_536;

/** Records all packets on a network device with tcpdump, from now on. Needs root. */
export async function capture(prefix: readonly string[], device: string) {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'packets');
  const flags = ['-i', device, '-n', '-U', '--immediate-mode', '-B', `${BUFFER}`, '-Z', 'root', '-w', file];
  const [program = '', ...args] = [...prefix, 'tcpdump', ...flags];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exit = once(child, 'exit');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  await eventually(() => {
    assert.is(child.exitCode, null, said);
    assert.match(said, /listening on/);
  });
  const end = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exit;
  };
  return {
    /** Ends the recording after this many bytes. @returns The recorded packets. */
    async stop(bytes: number): Promise<Buffer> {
      await eventually(async () => assert.ok((await stat(file)).size > bytes, 'not everything was recorded'));
      await end();
      assert.match(said, /^0 packets dropped by kernel$/m);
      return await readFile(file);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await end();
      await directory.remove();
    },
  };
}
