import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Address } from '../contracts/address.js';
import { S2DSException, SciStreamError } from '../contracts/errors.js';
import { writeAtomically } from '../contracts/files.js';
import type { Reservation } from '../contracts/gateway.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import type { Restart, Restarts, StreamSpec, StreamTls } from '../contracts/stream.js';
import { StateDatabase, type WriteOptions } from '../store/state-database.js';
import { CredentialsFile, GatewayRow, whole } from '../store/stored.js';

const STREAMS = 'gateway';
/** Restarts that are remembered of one stream. */
const RESTARTS = 10;

/** What a gateway has promised for one stream: enough to take charge of it again. Holds its credentials. */
export interface GatewayStream {
  readonly spec: StreamSpec;
  /** Credentials; present where `spec.encryption` is `tls`. */
  readonly tls?: StreamTls;
  /** Ids of the proxy and runtime that `spec` names. */
  readonly proxy: string;
  readonly runtime: string;
  readonly listeners: readonly Address[];
  /** Where the runtime placed it, if it has several machines. */
  readonly node?: string;
  /** Written before the step that it names is taken, so that a process that dies in it leaves a trace. */
  readonly state: 'reserved' | 'starting' | 'running' | 'releasing';
  /** As asked for; names are not resolved. */
  readonly targets: readonly Address[];
  /** Whether `targets` are in force for certain; a process that dies while it sets them leaves it false. */
  readonly inForce?: boolean;
  /** Since it was reserved, whichever process it was. */
  readonly restarts?: Restarts;
}

/** As the database has it: without the credentials, which are a file. */
type Stored = Omit<GatewayStream, 'tls'>;

/**
 * What a gateway remembers beyond the life of its process. Calls for one uid come one after another. Credentials are
 * files of their own (0600): a database goes on holding what was deleted from it for a while.
 */
export class GatewayStore {
  readonly #streams = new Map<string, GatewayStream>();
  /** Streams without the credentials that they need. */
  readonly #incomplete = new Set<string>();

  private constructor(
    private readonly database: StateDatabase,
    private readonly credentials: string,
  ) {}

  /** Makes sure that a promise could be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.database.check();
  }

  /** @param state Directory of the gateway's state. @throws as `StateDatabase.open` */
  static async open(state: string): Promise<GatewayStore> {
    const store = new GatewayStore(await StateDatabase.open(state), join(state, 'credentials'));
    try {
      await store.#read();
    } catch (error) {
      await store.close();
      throw error;
    }
    return store;
  }

  async #read(): Promise<void> {
    await mkdir(this.credentials, { recursive: true, mode: 0o700 });
    for (const [uid, value] of await this.database.entries(STREAMS)) {
      const stream = whole<Stored>(GatewayRow, STREAMS, uid, value);
      this.#streams.set(uid, stream);
      if (stream.spec.encryption === 'tls') this.#incomplete.add(uid);
    }
    // One that fails concerns one stream, and whoever wants that will hear of it.
    await Promise.allSettled([...this.#incomplete].map((uid) => this.complete(uid)));
    const known = new Set([...this.#streams.keys()].map((uid) => `${uid}.json`));
    const strays = (await readdir(this.credentials)).filter((file) => !known.has(file));
    for (const file of strays) await rm(join(this.credentials, file), { force: true });
  }

  /** What is stored, without the credentials. */
  exported(): readonly object[] {
    return this.entries().map(([uid, stream]) => ({ uid, ...stored(stream) }));
  }

  /**
   * A stream with its credentials, which are read again where they could not be read before.
   * @throws SCI_STATE_DAMAGED
   */
  async complete(uid: string): Promise<GatewayStream | undefined> {
    const stream = this.#streams.get(uid);
    if (!stream || !this.#incomplete.has(uid)) return stream;
    const found = { ...stream, tls: await this.#readCredentials(uid) };
    this.#streams.set(uid, found);
    this.#incomplete.delete(uid);
    return found;
  }

  has(uid: string): boolean {
    return this.#streams.has(uid);
  }

  get(uid: string): GatewayStream | undefined {
    return this.#streams.get(uid);
  }

  entries(): readonly (readonly [uid: string, stream: GatewayStream])[] {
    return [...this.#streams];
  }

  /** Returns when it is on the disk, unless told otherwise. @throws SCI_STATE_WRITE, and then nothing has changed */
  async put(uid: string, stream: GatewayStream, options?: WriteOptions): Promise<void> {
    const { tls } = stream;
    // They never change, and come before the record that needs them.
    if (tls && !this.has(uid)) await writeAtomically(this.#file(uid), JSON.stringify(tls));
    await this.database.write([{ type: 'put', table: STREAMS, key: uid, value: stored(stream) }], options);
    this.#streams.set(uid, stream);
  }

  /** Forgets a stream of which nothing is left; a disk that is full hears of it later. */
  async delete(uid: string): Promise<void> {
    await this.database.write([{ type: 'del', table: STREAMS, key: uid }], { owed: true });
    this.#streams.delete(uid);
    this.#incomplete.delete(uid);
    await rm(this.#file(uid), { force: true });
  }

  async close(): Promise<void> {
    await this.database.close();
  }

  /** @param uid Checked by everybody who makes one: a file name that leaves no directory. */
  #file(uid: string): string {
    return join(this.credentials, `${uid}.json`);
  }

  /** @throws SCI_STATE_DAMAGED */
  async #readCredentials(uid: string): Promise<StreamTls> {
    try {
      return CredentialsFile.parse(JSON.parse(await readFile(this.#file(uid), 'utf8')));
    } catch {
      // Without the reason: what a parser says may quote what it has read.
      throw new SciStreamError('SCI_STATE_DAMAGED', `The credentials of stream ${uid} are lost or damaged.`, {
        suggestions: [`Bring the file back: ${this.#file(uid)}`, `Or release the stream: scistream stream down ${uid}`],
      });
    }
  }
}

const stored = ({ tls: _secret, ...rest }: GatewayStream): Stored => rest;

/** The earlier answer to a repeated request. @throws SCI_STREAM_EXISTS unless the request is the same */
export function repeated(
  gateway: string,
  uid: string,
  asked: Pick<GatewayStream, 'spec' | 'tls'>,
  kept: GatewayStream,
): Omit<Reservation, 'rateEnforced'> {
  const { spec, tls, proxy, runtime, listeners } = kept;
  if (!isDeepStrictEqual([asked.spec, asked.tls], [spec, tls])) {
    throw new S2DSException('SCI_STREAM_EXISTS', `Gateway ${gateway} has another stream ${uid}.`);
  }
  return { gateway, proxy, runtime, listeners };
}

/** Adds one restart; the last ten are kept. */
export const restartedOnce = ({ count, last }: Restarts = { count: 0, last: [] }, restart: Restart): Restarts => ({
  count: count + 1,
  last: [...last, restart].slice(-RESTARTS),
});

/** What the data server (S2DS) is asked to set up. */
export function requestOf(
  uid: string,
  { spec, tls, node }: GatewayStream,
  listeners: readonly ReservedListener[],
): S2DSRequest {
  const { role, transport, bitsPerSecond, sources } = spec;
  return {
    uid,
    role,
    transport,
    listeners,
    ...(bitsPerSecond > 0 ? { bitsPerSecond } : {}),
    ...(tls ? { tls } : {}),
    ...(sources ? { sources } : {}),
    ...(node === undefined ? {} : { node }),
  };
}
