import type { Socket } from 'node:net';
import type Docker from 'dockerode';
import {
  messageOf,
  retry,
  S2DSException,
  SciStreamError,
  type Advice,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerSpec,
  type ContainerState,
  type ExecResult,
  type InstanceFiles,
  type Logger,
  type RuntimeCapabilities,
} from '@scistream/core';
import { removeCommand, runBeside, runInside } from './commands.js';
import { instanceContainer, parseUser, userOf } from './container-config.js';
import { Containers, END_MS, HEAVY_MS, taken, translate } from './containers.js';
import type { Endpoint } from './endpoint.js';
import { adviceOn, Engine } from './engine.js';
import { failed, reasonOf, statusOf } from './errors.js';
import { Images, mustBePinned } from './images.js';
import { checkName } from './instance-directory.js';
import { BindStore, VolumeStore, type InstanceStore } from './instance-files.js';
import type { EngineOptions } from './options.js';
import { demultiplex } from './output.js';
import { Programs } from './programs.js';
import { isFresh, isManaged, isRunning, stateOf } from './state.js';
import { isSameInstance, startError } from './verdicts.js';

/** Limit of one wait request for the end of a program, ms. It is then repeated. */
const WATCH_MS = 60_000;
const RETRY_MS = 1_000;

/** The engine's location, and what the host gives every provider. */
export interface DockerRuntimeContext {
  readonly id: string;
  /** Finds the engine. May throw SCI_RUNTIME_UNREACHABLE; it is then called again when the engine is needed. */
  readonly find: () => Endpoint;
  readonly log: Logger;
  /** Parent of the instance directories. */
  readonly dataDir: string;
  /** Aborts when the host stops, and with it pending calls to the engine. */
  readonly signal?: AbortSignal;
}

/**
 * Runs instances as containers of a Docker or Podman engine with minimal rights: no capabilities, a read-only root file
 * system and an unprivileged user. Containers without the labels of SciStream are never touched, whatever their name.
 */
export class DockerRuntime implements ContainerRuntime {
  readonly id: string;
  readonly supports: RuntimeCapabilities;
  readonly #options: EngineOptions;
  readonly #log: Logger;
  readonly #local: boolean;
  readonly #engine: Engine;
  readonly #containers: Containers;
  readonly #programs: Programs;
  readonly #store: InstanceStore;

  constructor({ id, find, log, dataDir, signal }: DockerRuntimeContext, options: EngineOptions) {
    this.id = id;
    this.#options = options;
    this.#log = log;
    this.#local = isLocal(find);
    this.#engine = new Engine(find, log, signal);
    this.#containers = new Containers(this.#engine, new Images(this.#engine, log, options.pullTimeout));
    this.#programs = new Programs(this.#engine);
    const bind = (options.files ?? (this.#local ? 'bind' : 'volume')) === 'bind';
    this.#store = bind ? new BindStore(dataDir) : new VolumeStore(this.#engine, log, this.#programs);
    this.supports = { inheritSockets: false, dial: bind, images: true, hostNetwork: options.network === 'host' };
  }

  ping(): Promise<void> {
    return this.#engine.ping();
  }

  async advise(): Promise<readonly Advice[]> {
    return adviceOn(await this.#engine.facts());
  }

  async create(spec: ContainerSpec): Promise<ContainerRef> {
    const ref = { name: spec.name };
    checkName(ref, spec.files);
    mustBePinned(spec.image);
    const facts = await this.#engine.facts();
    const there = await this.#containers.find(ref.name);
    if (there && !isSameInstance(there, spec)) throw taken(ref);
    const user = userOf(spec, this.#options, facts);
    try {
      const mounted = await this.#store.prepare(ref, user, spec.files);
      if (!there)
        await this.#containers.make(spec, instanceContainer(spec, { options: this.#options, facts, user, ...mounted }));
      await this.#store.fill(ref, user, spec.files);
    } catch (error) {
      await this.#undo(spec);
      throw translate(`Cannot create the container ${ref.name}`, error);
    }
    return ref;
  }

  async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    const container = await this.#mustFind(ref);
    await this.#programs.mustHave(container, spec.executable).catch((error: unknown) => {
      throw translate(`Cannot look for ${spec.executable} in ${spec.image}`, error);
    });
    try {
      await this.#engine.call(
        (docker, abortSignal) => docker.getContainer(container.Id).start({ abortSignal }),
        HEAVY_MS,
      );
    } catch (error) {
      if (statusOf(error) !== 304) throw startError(spec, error);
    }
    this.#log.debug({ instance: ref.name, container: container.Id }, 'instance started');
  }

  async stop(ref: ContainerRef, graceMs: number): Promise<void> {
    const container = await this.#findOwn(ref);
    if (!container) return;
    try {
      await this.#engine.call(
        (docker, abortSignal) => docker.getContainer(container.Id).stop({ t: Math.ceil(graceMs / 1000), abortSignal }),
        graceMs + END_MS,
      );
    } catch (error) {
      if (statusOf(error) !== 304 && statusOf(error) !== 404) throw translate(`Cannot stop ${ref.name}`, error);
    }
  }

  async remove(ref: ContainerRef): Promise<void> {
    checkName(ref);
    const what = `Cannot remove the container ${ref.name}`;
    try {
      await removeCommand(this.#engine, ref);
      const container = await this.#findOwn(ref);
      if (container) await this.#containers.remove(container.Id);
    } catch (error) {
      throw translate(what, error);
    }
    await this.#store.remove(ref);
  }

  async inspect(ref: ContainerRef): Promise<ContainerState> {
    const container = await this.#findOwn(ref);
    return container ? await stateOf(container, this.#local) : { ...ref, status: 'absent', labels: {} };
  }

  async list(labels: ContainerSpec['labels']): Promise<readonly ContainerState[]> {
    const label = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    const found = await this.#engine
      .call((docker, abortSignal) => docker.listContainers({ all: true, filters: { label }, abortSignal }))
      .catch((error: unknown) => {
        throw translate('Cannot list containers', error);
      });
    const managed = found.filter(({ Labels }) => isManaged(Labels));
    const states = await Promise.all(
      managed.map(async ({ Id }) => {
        const container = await this.#containers.find(Id);
        return container ? [await stateOf(container, this.#local)] : [];
      }),
    );
    return states.flat();
  }

  async logs(ref: ContainerRef, lines: number): Promise<string> {
    const container = await this.#findOwn(ref);
    if (!container || isFresh(container)) return '';
    const data = await this.#engine
      .call((docker, abortSignal) =>
        docker.getContainer(container.Id).logs({ stdout: true, stderr: true, tail: lines, abortSignal }),
      )
      .catch((error: unknown) => {
        throw translate(`Cannot read the log of ${ref.name}`, error);
      });
    return demultiplex(data).all.trimEnd().split('\n').slice(-lines).join('\n');
  }

  async exec(ref: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const container = await this.#mustFind(ref);
    const [program = ''] = command;
    try {
      await this.#programs.mustHave(container, program);
      if (isRunning(container)) return await runInside(this.#engine, this.#log, container, command, timeoutMs);
      const setting = {
        options: this.#options,
        facts: await this.#engine.facts(),
        user: parseUser(container.Config.User),
        capabilities: (container.HostConfig.CapAdd as string[] | null) ?? undefined,
        ...this.#store.mounted(ref, container),
      };
      // Use the image id: the tag may refer to another image by now.
      return await runBeside(this.#engine, this.#log, ref, container.Image, command, setting, timeoutMs);
    } catch (error) {
      throw translate(`Cannot run ${program} beside ${ref.name}`, error);
    }
  }

  async putFiles(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    checkName(ref, files);
    const container = await this.#mustFind(ref);
    await this.#store.put(ref, container, files).catch((error: unknown) => {
      throw translate(`Cannot write files of ${ref.name}`, error);
    });
  }

  async signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    const died = (): S2DSException =>
      new S2DSException('SCI_PROXY_DIED', `${ref.name} is not running and cannot receive ${signal}.`);
    const container = await this.#findOwn(ref);
    if (!container || !isRunning(container)) throw died();
    try {
      await this.#engine.call((docker, abortSignal) => docker.getContainer(container.Id).kill({ signal, abortSignal }));
    } catch (error) {
      // The program has just ended: Docker returns 409, older versions 500.
      if (statusOf(error) === 404 || statusOf(error) === 409 || /not running/.test(reasonOf(error))) throw died();
      throw translate(`Cannot send ${signal} to ${ref.name}`, error);
    }
  }

  async dial(ref: ContainerRef, socketName: string): Promise<Socket> {
    checkName(ref, { [socketName]: '' });
    if (this.#store instanceof BindStore) return await this.#store.directories.dial(ref, socketName);
    throw failed(`Sockets of ${ref.name} cannot be reached, because its files are in a volume`);
  }

  async exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    let lost = false;
    const end = async (): Promise<ContainerState> => {
      for (;;) {
        signal.throwIfAborted();
        const state = await this.inspect(ref);
        if (state.status !== 'running') return state;
        if (lost) this.#log.info({ instance: ref.name }, 'engine reachable again, instance running');
        lost = false;
        await this.#watch(ref, signal);
      }
    };
    // The state is unknown until the engine is back.
    const pauseMs = (error: unknown): number => {
      if (!lost) this.#log.warn({ instance: ref.name, error: messageOf(error) }, 'engine unreachable, waiting');
      lost = true;
      return RETRY_MS;
    };
    return await retry(end, { pauseMs, signal });
  }

  /** Returns when the program has ended, or after WATCH_MS. */
  async #watch({ name }: ContainerRef, signal: AbortSignal): Promise<void> {
    const enough = AbortSignal.any([signal, AbortSignal.timeout(WATCH_MS)]);
    await this.#engine
      .call(async (docker) => {
        const ended = docker.getContainer(name).wait({ condition: 'not-running', abortSignal: enough });
        const stopped = new Promise<void>((settle) => {
          if (enough.aborted) settle();
          enough.addEventListener('abort', () => settle(), { once: true });
        });
        await Promise.race([ended, stopped]);
        ended.catch(() => undefined);
      }, WATCH_MS * 2)
      .catch((error: unknown) => {
        if (!enough.aborted && statusOf(error) !== 404) throw error;
      });
  }

  /** Cleans up after a failure. Errors are logged, because the caller must receive the original one. */
  async #undo(spec: ContainerSpec): Promise<void> {
    try {
      const there = await this.#containers.find(spec.name);
      if (there && isSameInstance(there, spec)) await this.#containers.remove(there.Id);
      await this.#store.remove(spec);
    } catch (error) {
      this.#log.error({ instance: spec.name, error: messageOf(error) }, 'instance could not be removed');
    }
  }

  async #findOwn(ref: ContainerRef): Promise<Docker.ContainerInspectInfo | undefined> {
    checkName(ref);
    const container = await this.#containers.find(ref.name);
    return container && isManaged(container.Config.Labels) ? container : undefined;
  }

  async #mustFind(ref: ContainerRef): Promise<Docker.ContainerInspectInfo> {
    const container = await this.#findOwn(ref);
    if (container) return container;
    throw failed(`The container ${ref.name} does not exist`, undefined, [
      'It was removed outside SciStream: docker events shows when.',
    ]);
  }
}

/** Whether the engine is behind a local unix socket; false while that is unknown. */
function isLocal(find: () => Endpoint): boolean {
  try {
    return find().transport === 'unix';
  } catch (error) {
    // The first call throws it again and reports it.
    if (SciStreamError.is(error)) return false;
    throw error;
  }
}
