import { create } from '@bufbuild/protobuf';
import { SciStreamError } from '../contracts/errors.js';
import { retry } from '../contracts/wait.js';
import { ResponseSchema, type Response } from '../wire/gen/scistream_pb.js';
import type { ControlClient } from './control-client.js';

/** Pause before a lost REQ is sent again, ms. */
const PAUSE_MS = 1000;
/** A REQ that breaks after this time, ms, has waited; one that breaks earlier may not have arrived. */
const WAITED_MS = 1000;

/**
 * A REQ that waits for the HELLO of an application controller, often for minutes. It survives a lost connection and the
 * restart of its control server, which recovers the stream.
 */
export class WaitingRequest {
  #waited = false;

  constructor(
    private readonly client: ControlClient,
    private readonly uid: string,
  ) {}

  /** Whether a REQ has waited, so that the control server may hold the stream although it rejects another REQ. */
  get waited(): boolean {
    return this.#waited;
  }

  /**
   * Sends REQ until it is answered.
   * @param send Receives its deadline, ms.
   * @throws the error of the last REQ; the reason of `signal`
   */
  async send(send: (deadlineMs: number) => Promise<Response>, waitMs: number, signal: AbortSignal): Promise<Response> {
    const attempt = async (leftMs: number): Promise<Response> => {
      const sent = performance.now();
      try {
        return await send(leftMs);
      } catch (error) {
        this.#waited ||= performance.now() - sent > WAITED_MS || codeOf(error) === 'SCI_SHUTTING_DOWN';
        if (!this.#waited || codeOf(error) !== 'SCI_STREAM_EXISTS') throw error;
        return await this.#recovered(error, signal);
      }
    };
    const pauseMs = (error: unknown): number | undefined =>
      this.#waited && LOST.has(codeOf(error)) ? PAUSE_MS : undefined;
    return await retry(attempt, { pauseMs, timeoutMs: waitMs, signal });
  }

  /** The stream after HELLO. A control server accepts no second REQ with credentials. @throws `exists` before HELLO */
  async #recovered(exists: unknown, signal: AbortSignal): Promise<Response> {
    const [stream, events] = await Promise.all([
      this.client.get(this.uid, { signal }),
      this.client.events(this.uid, { signal }),
    ]);
    if (stream.state === 'failed' || stream.state === 'released') {
      const { message = `The stream is ${stream.state}.`, suggestions = [] } = stream.error ?? {};
      throw new SciStreamError('SCI_STREAM_FAILED', message, { suggestions });
    }
    // The state does not tell whether HELLO has arrived. The event has the addresses that HELLO announced.
    const hello = events.findLast(({ what }) => what === 'hello');
    if (!hello) throw exists;
    const prodListeners = hello.detail.split(' ').filter((address) => address !== '');
    return create(ResponseSchema, { listeners: stream.listeners, prodListeners, stream });
  }
}

const codeOf = (error: unknown): string => (SciStreamError.is(error) ? error.code : '');

/** Codes of a REQ whose stream the control server may still have. */
const LOST = new Set(['SCI_S2CS_UNREACHABLE', 'SCI_SHUTTING_DOWN', 'SCI_STREAM_EXISTS']);
