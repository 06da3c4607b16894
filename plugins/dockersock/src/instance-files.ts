import type Docker from 'dockerode';
import type { ContainerRef, InstanceFiles, Logger } from '@scistream/core';
import { runInside } from './commands.js';
import { FOLDER, MOUNT, parseUser, type Setting, type User } from './container-config.js';
import type { Engine } from './engine.js';
import { failed } from './errors.js';
import { InstanceDirectories } from './instance-directory.js';
import type { Programs } from './programs.js';
import { isRunning } from './state.js';
import { archive, NEXT } from './volume.js';

/** Delivery of an instance's files to its program. */
export interface InstanceStore {
  /** Called before the container is created; returns its mount source. */
  prepare(ref: ContainerRef, user: User, files: InstanceFiles): Promise<Pick<Setting, 'directory'>>;
  /** Called after the container was created. */
  fill(ref: ContainerRef, user: User, files: InstanceFiles): Promise<void>;
  put(ref: ContainerRef, container: Docker.ContainerInspectInfo, files: InstanceFiles): Promise<void>;
  /** The mount that gives a second container the same files. */
  mounted(ref: ContainerRef, container: Docker.ContainerInspectInfo): Pick<Setting, 'directory' | 'volume'>;
  /** Called after the container was removed. */
  remove(ref: ContainerRef): Promise<void>;
}

/** Files in a mounted local directory. */
export class BindStore implements InstanceStore {
  readonly directories: InstanceDirectories;

  constructor(root: string) {
    this.directories = new InstanceDirectories(root);
  }

  async prepare(ref: ContainerRef, user: User, files: InstanceFiles): Promise<{ directory: string }> {
    await this.directories.make(ref, user);
    await this.directories.write(ref, files);
    return { directory: this.directories.path(ref) };
  }

  fill(): Promise<void> {
    return Promise.resolve();
  }

  put(ref: ContainerRef, _container: Docker.ContainerInspectInfo, files: InstanceFiles): Promise<void> {
    return this.directories.write(ref, files);
  }

  mounted(ref: ContainerRef): { directory: string } {
    return { directory: this.directories.path(ref) };
  }

  remove(ref: ContainerRef): Promise<void> {
    return this.directories.remove(ref);
  }
}

/** Files in an anonymous volume, written through the engine and removed with the container. */
export class VolumeStore implements InstanceStore {
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #programs: Programs;

  constructor(engine: Engine, log: Logger, programs: Programs) {
    this.#engine = engine;
    this.#log = log;
    this.#programs = programs;
  }

  prepare(): Promise<object> {
    return Promise.resolve({});
  }

  async fill(ref: ContainerRef, user: User, files: InstanceFiles): Promise<void> {
    await this.#send(ref.name, await archive(files, user));
  }

  /**
   * Replaces files. The engine is not atomic: it removes a file before it creates the new one. If the image has mv,
   * files are sent to a temporary folder and moved, which is atomic for each file.
   */
  async put(ref: ContainerRef, container: Docker.ContainerInspectInfo, files: InstanceFiles): Promise<void> {
    const user = parseUser(container.Config.User);
    const names = Object.keys(files);
    if (names.length === 0) return;
    if (!isRunning(container) || !(await this.#programs.has(container, 'mv')))
      return await this.#send(container.Id, await archive(files, user));
    await this.#send(container.Id, await archive(files, user, NEXT));
    const command = ['mv', '-f', ...names.map((name) => `${NEXT}/${name}`), '.'];
    const { exitCode, stdout, stderr } = await runInside(this.#engine, this.#log, container, command, MOVE_MS);
    if (exitCode !== 0) throw failed(`Cannot replace files of ${ref.name}: ${(stderr || stdout).trim()}`);
  }

  mounted(ref: ContainerRef, { Mounts }: Docker.ContainerInspectInfo): { volume: string } {
    const volume = Mounts.find(({ Destination }) => Destination === MOUNT)?.Name;
    if (volume === undefined) throw failed(`The container ${ref.name} has no volume at ${MOUNT}/${FOLDER}`);
    return { volume };
  }

  remove(): Promise<void> {
    return Promise.resolve();
  }

  async #send(id: string, content: Buffer): Promise<void> {
    await this.#engine.call((docker, abortSignal) =>
      docker.getContainer(id).putArchive(content, { path: MOUNT, abortSignal }),
    );
  }
}

const MOVE_MS = 10_000;
