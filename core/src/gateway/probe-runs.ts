import pLimit from 'p-limit';
import { quote, S2DSException } from '../contracts/errors.js';
import { Queue } from '../contracts/wait.js';

/** Connections that all probes of a gateway have open at a time. */
const MOST_SOCKETS = 64;
/** Connections that the probes of one stream have open at a time. */
const MOST_PER_STREAM = 4;
/** Calls that run or wait for one stream. */
const MOST_CALLS = 8;
/** Time in which one run starts its connections, ms. */
const RUN_MS = 10_000;

/** Opens a connection of a run when its turn comes. Returns undefined if that is too late. */
export type Dial = <T>(connect: () => Promise<T>) => Promise<T | undefined>;

/** Creates the limit of connections that all streams of a gateway share. */
export const probeSockets = (): ReturnType<typeof pLimit> => pLimit(MOST_SOCKETS);

/** Runs the probes of one stream one after another, so that a gateway is no port scanner. */
export class ProbeRuns {
  readonly #queue = new Queue();
  readonly #own = pLimit(MOST_PER_STREAM);
  #calls = 0;

  /** @param sockets The limit of the gateway. */
  constructor(
    private readonly uid: string,
    private readonly sockets: ReturnType<typeof pLimit>,
  ) {}

  /** Runs a probe when those before it are over. @throws SCI_LIMIT_REACHED if too many wait, and what the probe raises */
  async run<T>(probe: (dial: Dial) => Promise<T>): Promise<T> {
    if (this.#calls >= MOST_CALLS) {
      throw new S2DSException(
        'SCI_LIMIT_REACHED',
        `${MOST_CALLS} probes of stream ${quote(this.uid)} already run or wait.`,
        {
          suggestions: ['Retry in a few seconds.'],
        },
      );
    }
    this.#calls += 1;
    try {
      return await this.#queue.run(() => {
        const until = performance.now() + RUN_MS;
        const inTime = async <R>(connect: () => Promise<R>): Promise<R | undefined> =>
          performance.now() < until ? await connect() : undefined;
        return probe((connect) => this.#own(() => this.sockets(() => inTime(connect))));
      });
    } finally {
      this.#calls -= 1;
    }
  }
}
