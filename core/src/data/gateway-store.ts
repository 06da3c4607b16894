import type { Address } from '../address.js';
import { StateDatabase } from '../store/state-database.js';
import type { ReserveRequest } from './data-server.js';

const STREAMS = 'gateway';

/** What a gateway has promised for one stream: enough to take charge of it again. Holds its credentials. */
export interface GatewayStream {
  readonly request: ReserveRequest;
  /** Ids behind the names in the request. */
  readonly proxy: string;
  readonly runtime: string;
  readonly listeners: readonly Address[];
  /** Where the runtime placed it, if it has several machines. */
  readonly node?: string;
  /** Written before the step that it names is taken, so that a process that dies in it leaves a trace. */
  readonly state: 'reserved' | 'starting' | 'running' | 'releasing';
  /** As asked for; names are not resolved. */
  readonly targets: readonly Address[];
}

/** What a gateway remembers beyond the life of its process. Calls for one uid come one after another. */
export class GatewayStore {
  readonly #streams = new Map<string, GatewayStream>();

  private constructor(private readonly database: StateDatabase) {}

  /** @param state Directory of the gateway's state. @throws as `StateDatabase.open` */
  static async open(state: string): Promise<GatewayStore> {
    const store = new GatewayStore(await StateDatabase.open(state));
    for (const [uid, stream] of await store.database.entries(STREAMS)) store.#streams.set(uid, stream as GatewayStream);
    return store;
  }

  /** What is stored, without the credentials. */
  exported(): readonly object[] {
    return this.entries().map(
      ([
        uid,
        {
          request: { tls: _secret, ...request },
          ...rest
        },
      ]) => ({ uid, ...rest, request }),
    );
  }

  has(uid: string): boolean {
    return this.#streams.has(uid);
  }

  entries(): readonly (readonly [uid: string, stream: GatewayStream])[] {
    return [...this.#streams];
  }

  /** Returns when it is on the disk. @throws SCI_STATE_WRITE, and then nothing has changed */
  async put(uid: string, stream: GatewayStream): Promise<void> {
    await this.database.write([{ type: 'put', table: STREAMS, key: uid, value: stream }]);
    this.#streams.set(uid, stream);
  }

  async delete(uid: string): Promise<void> {
    await this.database.write([{ type: 'del', table: STREAMS, key: uid }]);
    this.#streams.delete(uid);
  }

  async close(): Promise<void> {
    await this.database.close();
  }
}
