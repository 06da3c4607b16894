import type Docker from 'dockerode';
import { poll, S2DSException, SciStreamError, type ContainerRef, type ContainerSpec } from '@scistream/core';
import type { Engine } from './engine.js';
import { failed, reasonOf, statusOf } from './errors.js';
import type { Images } from './images.js';
import { isSameInstance } from './verdicts.js';

/** Making or starting a container, on an engine that is busy with many, in ms. */
export const HEAVY_MS = 120_000;
/** What stopping may take beyond the grace, and removing, in ms. */
export const END_MS = 120_000;

/** Makes, finds and removes containers. */
export class Containers {
  readonly #engine: Engine;
  readonly #images: Images;

  constructor(engine: Engine, images: Images) {
    this.#engine = engine;
    this.#images = images;
  }

  /** Makes a container, after fetching its image where that is missing; one that is there already is fine if it is ours. */
  async make(spec: ContainerSpec, request: Docker.ContainerCreateOptions): Promise<void> {
    const make = (): Promise<Docker.Container> =>
      this.#engine.call((docker, abortSignal) => docker.createContainer({ ...request, abortSignal }), HEAVY_MS);
    try {
      await make().catch(async (error: unknown) => {
        if (statusOf(error) !== 404) throw error;
        await this.#images.pull(spec.image);
        await make();
      });
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
      const there = await this.find(spec.name);
      if (!there || !isSameInstance(there, spec)) throw taken(spec);
    }
  }

  /** Removes one that does not run, with its volume. */
  async remove(id: string): Promise<void> {
    try {
      await this.#engine.call(
        (docker, abortSignal) => docker.getContainer(id).remove({ v: true, abortSignal }),
        END_MS,
      );
    } catch (error) {
      if (statusOf(error) === 404) return;
      if (statusOf(error) !== 409 || !/in progress/.test(reasonOf(error))) throw error;
    }
    const gone = async (): Promise<true | undefined> => ((await this.find(id)) ? undefined : true);
    await poll(gone, { timeoutMs: END_MS, intervalMs: 20 }, (cause) => failed(`The container ${id} stays`, cause));
  }

  /** A container by name or id, whoever it belongs to. */
  async find(name: string): Promise<Docker.ContainerInspectInfo | undefined> {
    try {
      return await this.#engine.call((docker, abortSignal) => docker.getContainer(name).inspect({ abortSignal }));
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw translate(`Cannot look at the container ${name}`, error);
    }
  }
}

/** The name belongs to somebody else's container. */
export const taken = ({ name }: ContainerRef): S2DSException =>
  new S2DSException('SCI_CONTAINER_CONFLICT', `A container ${name} exists already, and it is not for this stream.`, {
    suggestions: [`Look who made it: docker inspect ${name}`, `If nobody needs it: docker rm -f ${name}`],
  });

/** What the engine refused, as an error of ours. */
export const translate = (what: string, error: unknown): SciStreamError =>
  SciStreamError.is(error) ? error : failed(what, error);
