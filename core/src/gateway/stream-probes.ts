import { S2DSException, systemCode } from '../contracts/errors.js';
import type { ProbeOffer } from '../contracts/gateway.js';
import type { PortAllocator } from '../contracts/port-allocator.js';
import { answerProbe, newChallenge } from './probe.js';

const LIFE_MS = 10_000;
/** Probes of one stream at once. A client that cannot get through asks again and again; it must not take all ports. */
const MOST = 4;

/** The probe ports of one stream. The newest ends the oldest when there are too many. */
export class StreamProbes {
  /** What ends a probe → when its port is free again. */
  readonly #open = new Map<AbortController, Promise<void>>();
  #count = 0;

  constructor(
    private readonly ports: PortAllocator,
    private readonly uid: string,
    private readonly host: string,
  ) {}

  /** Opens a port that answers one probe within 10 s. @throws SCI_PORTS_EXHAUSTED, SCI_PORT_TAKEN */
  async open(): Promise<ProbeOffer> {
    const end = new AbortController();
    const opening = this.#answer(`${this.uid}/probe${(this.#count += 1)}`, end.signal);
    const over = opening.then(
      ({ closed }) => closed,
      () => undefined,
    );
    this.#open.set(
      end,
      over.finally(() => this.#open.delete(end)),
    );
    const [oldest] = this.#open.keys();
    if (this.#open.size > MOST) oldest?.abort();
    return (await opening).offer;
  }

  /** Ends all probes. Returns when their ports are free. */
  async close(): Promise<void> {
    for (const end of this.#open.keys()) end.abort();
    await Promise.all(this.#open.values());
  }

  async #answer(
    lease: string,
    signal: AbortSignal,
  ): Promise<{ readonly offer: ProbeOffer; readonly closed: Promise<void> }> {
    const [listener] = await this.ports.allocate({ uid: lease, host: this.host, transport: 'tcp', count: 1 });
    try {
      if (!listener) throw new S2DSException('SCI_PORTS_EXHAUSTED', `No port on ${this.host} is free for a probe.`);
      const { address } = listener;
      await listener.letGo();
      const challenge = newChallenge();
      const { closed } = await answerProbe(address, challenge, LIFE_MS, signal);
      const free = closed.finally(() => this.ports.release(lease));
      return { offer: { address, challenge, expiresMs: LIFE_MS }, closed: free };
    } catch (error) {
      await this.ports.release(lease);
      if (systemCode(error) !== 'EADDRINUSE') throw error;
      throw new S2DSException('SCI_PORT_TAKEN', `Somebody took the port of a probe on ${this.host}.`, {
        cause: error,
        suggestions: ['Try again.'],
      });
    }
  }
}
