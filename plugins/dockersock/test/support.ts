import { setTimeout as pause } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import Docker from 'dockerode';
import { LABELS, SciStreamError, silentLogger, type ContainerSpec, type ErrorCode, type Logger } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';
import { DockerRuntime, DockersockOptions, socketEndpoint } from '@scistream/plugin-dockersock';

export const IMAGE = process.env.SCISTREAM_TEST_IMAGE ?? 'scistream-test:1';

let instances = 0;

/** A name nobody else has. */
export const freshName = (): string => `sci-test-${process.pid}-${(instances += 1)}`;

/** A small program in the shell of the image. */
export function specOf(script: string, more: Partial<ContainerSpec> = {}): ContainerSpec {
  const name = more.name ?? freshName();
  return {
    image: IMAGE,
    executable: 'sh',
    args: ['main.sh'],
    files: { 'main.sh': script },
    labels: { [LABELS.managed]: 'true', [LABELS.serverId]: 'test', [LABELS.uid]: name, [LABELS.specHash]: 'one' },
    sockets: [],
    stopSignal: 'SIGTERM',
    listeners: [],
    transport: 'tcp',
    ...more,
    name,
  };
}

/** Says that it is there, and then nothing. */
export const READY = 'echo ready; while :; do sleep 1; done\n';

/** A runtime in a directory of its own, and a client of the same engine to look from outside. */
export class Fixture implements AsyncDisposable {
  private readonly made = new Set<string>();

  private constructor(
    readonly directory: string,
    readonly runtime: DockerRuntime,
    readonly docker: Docker,
    private readonly removeDirectory: () => Promise<void>,
  ) {}

  static async make(host: string, options: object = {}, log: Logger = silentLogger): Promise<Fixture> {
    const temporary = await temporaryDirectory();
    const socket = host.slice('unix://'.length);
    const parsed = DockersockOptions.parse({ socket, ...options });
    const context = { id: 'dockersock', find: () => socketEndpoint(socket), log, dataDir: temporary.path };
    const docker = new Docker({ socketPath: socket, host: undefined });
    return new Fixture(temporary.path, new DockerRuntime(context, parsed), docker, () => temporary.remove());
  }

  /** Creates and starts it, and waits for a line of its log. */
  async run(spec: ContainerSpec, line = /ready/): Promise<{ readonly name: string }> {
    const ref = await this.create(spec);
    await this.runtime.start(ref, spec);
    await until(async () => line.test(await this.runtime.logs(ref, 100)));
    return ref;
  }

  async create(spec: ContainerSpec): Promise<{ readonly name: string }> {
    this.made.add(spec.name);
    return await this.runtime.create(spec);
  }

  /** Of all containers of the engine. */
  async names(): Promise<string[]> {
    const all = await this.docker.listContainers({ all: true });
    return all.flatMap(({ Names }) => Names.map((name) => name.slice(1)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.made) {
      await this.runtime.stop({ name }, 0);
      await this.runtime.remove({ name });
    }
    await this.removeDirectory();
  }
}

/** Polls for 60 s, far longer than anything here takes on a machine that is not busy. */
export async function until(done: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await done()); await pause(20)) {
    if (Date.now() > deadline) assert.unreachable('it did not become so within 60 s');
  }
}

export async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> {
  const error: unknown = await promise.then(
    () => assert.unreachable(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code, error.message);
  return error;
}
