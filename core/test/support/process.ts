/** Node.js programs as instances of the process runtime. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { silentLogger, type ContainerSpec, type ErrorCode, type SciStreamError } from '@scistream/core';
import { ProcessRuntime } from '@scistream/core/internal';
import { eventually, expectCode, temporaryDirectory } from '@scistream/core/testing';

export const LABELS = { 'org.scistream.managed': 'true', 'org.scistream.uid': 'u' };
export const REF = { name: 'one' };

/** A Node.js program in a runtime of its own, in a temporary directory. */
export class Fixture implements AsyncDisposable {
  private constructor(
    readonly directory: string,
    readonly runtime: ProcessRuntime,
    private readonly remove: () => Promise<void>,
  ) {}

  static async make(below = 'instances'): Promise<Fixture> {
    const temporary = await temporaryDirectory();
    const directory = join(temporary.path, below);
    const runtime = new ProcessRuntime({ directory, log: silentLogger });
    return new Fixture(directory, runtime, () => temporary.remove());
  }

  /** Creates and starts an instance, and waits until it has written `ready` to its log. */
  async run(script: string, more: Partial<ContainerSpec> = {}): Promise<number> {
    const spec = specOf(script, more);
    await this.runtime.create(spec);
    await this.runtime.start(REF, spec);
    await eventually(async () => assert.match(await this.runtime.logs(REF, 100), /ready/));
    const { pid = 0 } = await this.runtime.inspect(REF);
    return pid;
  }

  path(file = ''): string {
    return join(this.directory, REF.name, file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.stop(REF, 0);
    await this.remove();
  }
}

/** A Node.js program. @param script Its source text. */
export const specOf = (script: string, more: Partial<ContainerSpec> = {}): ContainerSpec => ({
  name: REF.name,
  image: 'none:1',
  executable: process.execPath,
  args: ['main.cjs'],
  files: { 'main.cjs': script },
  labels: LABELS,
  sockets: [],
  stopSignal: 'SIGTERM',
  listeners: [],
  transport: 'tcp',
  ...more,
});

/** Prints ready and waits. */
export const READY = 'console.log("ready"); setInterval(() => {}, 1000);';
/** Ignores SIGTERM. */
export const STUBBORN = `process.on('SIGTERM', () => console.log('asked')); ${READY}`;
/** Leaves such a program behind. */
export const CHILD = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(STUBBORN)}], { stdio: 'inherit', detached: true }).unref();`;

/** Asserts that a promise rejects with this code. @returns the error */
export const refusal = (promise: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> =>
  expectCode(code, promise);
