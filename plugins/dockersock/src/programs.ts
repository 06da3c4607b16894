import { posix } from 'node:path';
import type Docker from 'dockerode';
import { S2DSException } from '@scistream/core';
import type { Engine } from './engine.js';
import { statusOf } from './errors.js';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Checks which programs images have. The engine reports a missing one only as a container that exits immediately. */
export class Programs {
  readonly #engine: Engine;
  /** Image id and program, for those that were found. */
  readonly #found = new Set<string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Whether the program is in the PATH of the container's image. Relative paths with a slash always pass. */
  async has({ Id, Image, Config }: Docker.ContainerInspectInfo, program: string): Promise<boolean> {
    const key = `${Image} ${program}`;
    if (this.#found.has(key) || (program.includes('/') && !program.startsWith('/'))) return true;
    const path = Config.Env?.find((entry) => entry.startsWith('PATH='))?.slice(5) ?? DEFAULT_PATH;
    const candidates = program.startsWith('/')
      ? [program]
      : path.split(':').map((folder) => posix.join(folder, program));
    for (const candidate of candidates) {
      if (!(await this.#exists(Id, candidate))) continue;
      this.#found.add(key);
      return true;
    }
    return false;
  }

  /** @throws SCI_EXECUTABLE_NOT_FOUND */
  async mustHave(container: Docker.ContainerInspectInfo, program: string): Promise<void> {
    if (await this.has(container, program)) return;
    const image = container.Config.Image;
    throw new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The image ${image} has no program ${program}.`, {
      suggestions: [
        `Check the image: docker run --rm --entrypoint ${program} ${image}`,
        'Set the option image of the proxy to an image that has it.',
      ],
    });
  }

  async #exists(id: string, path: string): Promise<boolean> {
    try {
      await this.#engine.call(async (docker, abortSignal) => {
        const answer = (await docker.getContainer(id).infoArchive({ path, abortSignal })) as NodeJS.ReadableStream;
        answer.resume();
      });
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw error;
    }
  }
}
