import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import Docker from 'dockerode';

/** What a session asks of a node. */
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

/** The Docker engine behind the nodes of the emulator, used as Janus does it through Portainer. */
export class DockerBackend {
  readonly #docker: Docker;

  /**
   * @param host As DOCKER_HOST has it, unix:// only.
   * @param mark What tells the containers of this emulator from those of others on the same engine.
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

  /** Everything as it comes from the engine, with the heads of its frames where there is no terminal. */
  async run(exec: string): Promise<string> {
    const stream = await this.#docker.getExec(exec).start({ Detach: false });
    return (await buffer(stream)).toString('utf8');
  }

  async isRunning(exec: string): Promise<boolean> {
    return (await this.#docker.getExec(exec).inspect()).Running;
  }

  /** Containers of this emulator, whatever state they are in. */
  async containers(): Promise<readonly string[]> {
    const all = await this.#docker.listContainers({ all: true, filters: { label: [`${LABEL}=${this.mark}`] } });
    return all.map(({ Id }) => Id);
  }

  /** Of the first process of a container, as this machine sees it. */
  async pidOf(id: string): Promise<number> {
    return (await this.#docker.getContainer(id).inspect()).State.Pid;
  }

  /** Kills the children of the first process of a container, which stays. */
  async killProgram(id: string): Promise<void> {
    const first = await this.pidOf(id);
    const children = await readFile(`/proc/${first}/task/${first}/children`, 'utf8');
    for (const pid of children.trim().split(' ')) process.kill(Number(pid), 'SIGKILL');
  }

  /** Kills what runs in a container, as the kernel or an operator would, and with it all of the container. */
  async kill(id: string): Promise<void> {
    await this.#docker.getContainer(id).kill();
  }
}

const unless =
  (status: number) =>
  (error: unknown): void => {
    if ((error as { statusCode?: number }).statusCode !== status) throw error;
  };
