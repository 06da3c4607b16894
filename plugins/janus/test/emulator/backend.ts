import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import Docker from 'dockerode';

/** Parameters of a container on a node. */
export interface ContainerWish {
  readonly name: string;
  readonly hostName: string;
  readonly image: string;
  readonly entrypoint: string | undefined;
  readonly command: readonly string[];
  readonly network: string;
  readonly environment: readonly string[];
  readonly memory: number;
}

const LABEL = 'janus-emulator';

/** The Docker engine behind the nodes of the emulator, used like Janus uses it through Portainer. */
export class DockerBackend {
  readonly #docker: Docker;

  /**
   * @param host Address of the engine as in DOCKER_HOST; only unix://.
   * @param mark Label value of the containers of this emulator.
   */
  constructor(
    host: string,
    private readonly mark: string,
  ) {
    this.#docker = new Docker({ socketPath: host.replace(/^unix:\/\//, '') });
  }

  async create(wish: ContainerWish): Promise<string> {
    const { entrypoint } = wish;
    const container = await this.#docker.createContainer({
      name: wish.name,
      Hostname: wish.hostName,
      Image: wish.image,
      ...(entrypoint === undefined ? {} : { Entrypoint: [entrypoint] }),
      Cmd: [...wish.command],
      Env: [`HOSTNAME=${wish.hostName}`, ...wish.environment],
      // Janus gives every container a terminal.
      Tty: true,
      StopSignal: 'SIGTERM',
      Labels: { [LABEL]: this.mark },
      HostConfig: { NetworkMode: wish.network, Memory: wish.memory },
    });
    return container.id;
  }

  async start(id: string): Promise<void> {
    await this.#docker.getContainer(id).start().catch(unless(304));
  }

  async stop(id: string): Promise<void> {
    await this.#docker.getContainer(id).stop({ t: 10 }).catch(unless(304));
  }

  async remove(id: string): Promise<void> {
    await this.#docker.getContainer(id).remove({ force: true, v: true }).catch(unless(404));
  }

  async logs(id: string, tail: number): Promise<string> {
    const log = await this.#docker.getContainer(id).logs({ follow: false, stdout: true, stderr: true, tail });
    return log.toString('utf8');
  }

  async prepare(id: string, command: readonly string[], attach: boolean, tty: boolean): Promise<string> {
    const how = { AttachStdin: false, AttachStdout: attach, AttachStderr: attach, Tty: tty, Cmd: [...command] };
    return (await this.#docker.getContainer(id).exec(how)).id;
  }

  /** The raw output of the engine, with frame headers if there is no terminal. */
  async run(exec: string): Promise<string> {
    const stream = await this.#docker.getExec(exec).start({ Detach: false });
    return (await buffer(stream)).toString('utf8');
  }

  async isRunning(exec: string): Promise<boolean> {
    return (await this.#docker.getExec(exec).inspect()).Running;
  }

  /** Ids of the containers of this emulator in any state. */
  async containers(): Promise<readonly string[]> {
    const all = await this.#docker.listContainers({ all: true, filters: { label: [`${LABEL}=${this.mark}`] } });
    return all.map(({ Id }) => Id);
  }

  /** Host pid of the first process of a container. */
  async pidOf(id: string): Promise<number> {
    return (await this.#docker.getContainer(id).inspect()).State.Pid;
  }

  /** Kills the children of the first process of a container. The first process stays. */
  async killProgram(id: string): Promise<void> {
    const first = await this.pidOf(id);
    const children = await readFile(`/proc/${first}/task/${first}/children`, 'utf8');
    for (const pid of children.trim().split(' ')) process.kill(Number(pid), 'SIGKILL');
  }

  /** Kills a container, as the kernel or an operator would. */
  async kill(id: string): Promise<void> {
    await this.#docker.getContainer(id).kill();
  }
}

const unless =
  (status: number) =>
  (error: unknown): void => {
    if ((error as { statusCode?: number }).statusCode !== status) throw error;
  };
