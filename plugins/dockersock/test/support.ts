import * as assert from 'uvu/assert';
import Docker from 'dockerode';
import { LABELS, silentLogger, type ContainerSpec, type Logger } from '@scistream/core';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { DockerRuntime, DockersockOptions, socketEndpoint } from '@scistream/plugin-dockersock';

export const IMAGE = process.env.SCISTREAM_TEST_IMAGE ?? 'scistream-test:1';

let instances = 0;

/** A unique name. */
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

/** Prints ready and then sleeps. */
export const READY = 'echo ready; while :; do sleep 1; done\n';

/** A runtime in its own directory, and a client of the same engine to look from outside. */
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

  /** Creates and starts an instance, and waits for a line of its log. */
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

  /** Names of all containers of the engine. */
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

/** Polls for 60 s, far longer than anything takes here on an idle machine. */
export const until = (done: () => Promise<boolean>): Promise<void> =>
  eventually(async () => assert.ok(await done(), 'the condition did not become true'), 60_000);
