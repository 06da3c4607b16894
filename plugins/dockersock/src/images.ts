import type { Readable } from 'node:stream';
import { formatBytes, quote, SciStreamError, S2DSException, type Logger } from '@scistream/core';
import type { Engine } from './engine.js';
import { Late, reasonOf } from './errors.js';

const REPORT_MS = 5_000;

/** Requires an image reference that does not change over time. @throws SCI_CONFIG_INVALID */
export function mustBePinned(image: string): void {
  const tag = /:([^:/@]+)(?:@|$)/.exec(image)?.[1];
  if (/@sha256:[0-9a-f]{64}$/.test(image) || (tag !== undefined && tag !== 'latest' && !image.includes('@'))) return;
  throw new S2DSException('SCI_CONFIG_INVALID', `The image ${quote(image)} has no pinned tag or digest.`, {
    suggestions: ['Set a version in the option image of the proxy, for example haproxy:3.0.11.'],
  });
}

/** Pulls images. Concurrent requests for one image share one pull. */
export class Images {
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #limitMs: number;
  readonly #running = new Map<string, Promise<void>>();

  constructor(engine: Engine, log: Logger, limitMs: number) {
    this.#engine = engine;
    this.#log = log;
    this.#limitMs = limitMs;
  }

  /** @throws SCI_IMAGE_NOT_FOUND */
  async pull(image: string): Promise<void> {
    const running = this.#running.get(image) ?? this.#pull(image).finally(() => this.#running.delete(image));
    this.#running.set(image, running);
    await running;
  }

  async #pull(image: string): Promise<void> {
    const begun = performance.now();
    this.#log.info({ image }, 'pulling image');
    try {
      await this.#engine.call(async (docker, abortSignal) => {
        const events = (await docker.pull(image, { abortSignal })) as Readable;
        await this.#follow(image, events);
      }, this.#limitMs);
    } catch (error) {
      // An unreachable engine is a different error from an unreachable registry.
      if (SciStreamError.is(error) && !(error.cause instanceof PullError || error.cause instanceof Late)) throw error;
      throw imageNotFound(image, SciStreamError.is(error) ? error.cause : error);
    }
    this.#log.info({ image, ms: Math.round(performance.now() - begun) }, 'image pulled');
  }

  /** Reads the progress of the layers. An error arrives as one of these lines. */
  async #follow(image: string, events: Readable): Promise<void> {
    const layers = new Map<string, number>();
    let reported = performance.now();
    let rest = '';
    for await (const chunk of events.setEncoding('utf8')) {
      const lines = `${rest}${chunk as string}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter((text) => text.trim() !== '')) {
        const event = JSON.parse(line) as PullEvent;
        if (event.error !== undefined) throw new PullError(event.error);
        if (event.id !== undefined && event.status === 'Downloading')
          layers.set(event.id, event.progressDetail?.current ?? 0);
      }
      if (performance.now() - reported < REPORT_MS) continue;
      reported = performance.now();
      const received = [...layers.values()].reduce((sum, bytes) => sum + bytes, 0);
      this.#log.info({ image, received: formatBytes(received) }, 'pulling image');
    }
  }
}

interface PullEvent {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number };
}

/** The error of a registry, reported by the engine. */
class PullError extends Error {}

function imageNotFound(image: string, cause: unknown): S2DSException {
  return new S2DSException(
    'SCI_IMAGE_NOT_FOUND',
    `The image ${image} is not available locally and cannot be pulled: ${reasonOf(cause)}.`,
    {
      cause,
      suggestions: [
        `Pull it: docker pull ${image}`,
        `Without a registry: docker save ${image} on another machine, docker load on this one`,
        'Or set another image in the option image of the proxy.',
      ],
    },
  );
}
