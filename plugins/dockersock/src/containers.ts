import type Docker from 'dockerode';
import { poll, S2DSException, SciStreamError, type ContainerRef, type ContainerSpec } from '@scistream/core';
import type { Engine } from './engine.js';
import { failed, reasonOf, statusOf } from './errors.js';
import type { Images } from './images.js';
import { isSameInstance } from './verdicts.js';

/** Limit of creating or starting a container on a busy engine, ms. */
export const HEAVY_MS = 120_000;
/** Limit of removing a container, and of stopping one in addition to the grace period, ms. */
export const END_MS = 120_000;

/** Creates, finds and removes containers. */
export class Containers {
  readonly #engine: Engine;
  readonly #images: Images;

  constructor(engine: Engine, images: Images) {
    this.#engine = engine;
    this.#images = images;
  }

  /** Creates a container and pulls its image if necessary. An existing container of the same instance is accepted. */
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

  /** Removes a stopped container with its volume. */
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
    await poll(gone, { timeoutMs: END_MS, intervalMs: 20 }, (cause) =>
      failed(`The container ${id} still exists`, cause),
    );
  }

  /** Finds a container by name or id, including containers of others. */
  async find(name: string): Promise<Docker.ContainerInspectInfo | undefined> {
    try {
      return await this.#engine.call((docker, abortSignal) => docker.getContainer(name).inspect({ abortSignal }));
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw translate(`Cannot inspect the container ${name}`, error);
    }
  }
}

/** The name belongs to another container. */
export const taken = ({ name }: ContainerRef): S2DSException =>
  new S2DSException(
    'SCI_CONTAINER_CONFLICT',
    `A container ${name} already exists and does not belong to this stream.`,
    {
      suggestions: [`Find its owner: docker inspect ${name}`, `If it is unused: docker rm -f ${name}`],
    },
  );

/** Turns an error of the engine into a SciStreamError. */
export const translate = (what: string, error: unknown): SciStreamError =>
  SciStreamError.is(error) ? error : failed(what, error);
