import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Address, Target } from '../contracts/address.js';
import { S2DSException, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../contracts/files.js';
import type { Place, PluginVersion } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import type { ProbeAnswer, Restarts, StreamSpec, StreamTls } from '../contracts/stream.js';
import { onState, stateError } from '../contracts/system-errors.js';
import { StateDatabase, type WriteOptions } from '../store/state-database.js';
import { CredentialsFile, GatewayRow, PortRow, whole } from '../store/stored.js';
import type { Write } from '../store/write-queue.js';
import type { RestingPort } from './resting-ports.js';

const STREAMS = 'gateway';
/** Released ports, by number. The range bounds their number. */
const PORTS = 'ports';

/** The record of one stream on a gateway, enough to recover it. Contains its credentials. */
export interface GatewayStream {
  readonly spec: StreamSpec;
  /** Credentials; present where `spec.encryption` is `tls`. */
  readonly tls?: StreamTls;
  /** Ids of the proxy and runtime that `spec` names. */
  readonly proxy: string;
  readonly runtime: string;
  /** Packages that the stream needs until its release: those of its proxy and runtime, without built-in ones. */
  readonly plugins?: readonly PluginVersion[];
  /** Where the proxy runs. Absent: in the runtime, from an earlier version. */
  readonly place?: Place;
  /** Bound addresses. */
  readonly listeners: readonly Address[];
  /** Host of the listeners for the other side, if it differs from the bound one. */
  readonly advertise?: string;
  /** Networks from which the listeners accept connections. Absent: those of `spec`. */
  readonly sources?: readonly string[];
  /** As `S2DSRequest.localAddress`. */
  readonly localAddress?: string;
  /** The machine that the runtime chose, if it has several. */
  readonly node?: string;
  /** Stored before the step that it names begins, so that the record shows a step during which the process died. */
  readonly state: 'reserved' | 'starting' | 'running' | 'releasing';
  /** The requested targets; host names are not resolved. */
  readonly targets: readonly Target[];
  /** Whether the proxy uses `targets` for certain; false if the process died while it set them. */
  readonly inForce?: boolean;
  /** As `S2DSCapabilities.probe`, if the configuration with which the proxy started has it. */
  readonly probe?: ProbeAnswer;
  /** Restarts since the reservation, in every process. */
  readonly restarts?: Restarts;
  /** In the state `releasing` of a failed stream: how long no other stream gets its ports. ISO 8601 UTC. */
  readonly keepPortsUntil?: string;
}

/** The row in the database: without the credentials, which are in a file. */
type Stored = Omit<GatewayStream, 'tls'>;

/**
 * The records of a gateway, which survive its process. Calls for one uid must not overlap. Credentials are in separate
 * files (0600), because a database keeps deleted values for a while.
 */
export class GatewayStore {
  readonly #streams = new Map<string, GatewayStream>();
  /** Encrypted streams whose credentials could not be read. */
  readonly #incomplete = new Set<string>();
  /** The released ports, as they were when the store was opened. */
  restingPorts: readonly RestingPort[] = [];

  private constructor(
    private readonly database: StateDatabase,
    private readonly credentials: string,
  ) {}

  /** Checks that a record could be stored. @throws SCI_STATE_WRITE */
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
    await onState('create', this.credentials, () => makeDirectory(this.credentials));
    for (const [uid, value] of await this.database.entries(STREAMS)) {
      const stream = whole<Stored>(GatewayRow, STREAMS, uid, value);
      this.#streams.set(uid, stream);
      if (stream.spec.encryption === 'tls') this.#incomplete.add(uid);
    }
    const ports = await this.database.entries(PORTS);
    this.restingPorts = ports.map(([port, value]) => whole<RestingPort>(PortRow, PORTS, port, value));
    // A failure concerns one stream only: calls for that stream report it.
    await Promise.allSettled([...this.#incomplete].map((uid) => this.complete(uid)));
    const known = new Set([...this.#streams.keys()].map((uid) => `${uid}.json`));
    await onState('clean up', this.credentials, async () => {
      const strays = (await readdir(this.credentials)).filter((file) => !known.has(file));
      for (const file of strays) await rm(join(this.credentials, file), { force: true });
    });
  }

  /** The stored records without their credentials. */
  exported(): readonly object[] {
    return this.entries().map(([uid, stream]) => ({ uid, ...stored(stream) }));
  }

  /**
   * Returns a record with its credentials, and reads them again if an earlier attempt failed.
   * @throws SCI_STATE_DAMAGED; SCI_STATE_WRITE when the file cannot be read now
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

  /** Stores a record. Without options, returns when it is on the disk. @throws SCI_STATE_WRITE; nothing has changed then */
  async put(uid: string, stream: GatewayStream, options?: WriteOptions): Promise<void> {
    const { tls } = stream;
    const isNew = !this.has(uid);
    // Credentials never change. They are written before the record that needs them.
    if (tls && isNew)
      await onState('write', this.#file(uid), () => writeAtomically(this.#file(uid), JSON.stringify(tls)));
    try {
      await this.database.write([{ type: 'put', table: STREAMS, key: uid, value: stored(stream) }], options);
    } catch (error) {
      if (isNew) await this.removeCredentials(uid);
      throw error;
    }
    this.#streams.set(uid, stream);
  }

  /** Removes the credentials of a stream that ends. Idempotent. @throws SCI_STATE_WRITE */
  async removeCredentials(uid: string): Promise<void> {
    await onState('remove', this.#file(uid), () => rm(this.#file(uid), { force: true }));
  }

  /**
   * Removes the record of a stream that has ended. If the disk is full, the removal is written later.
   * @param released Its ports, which rest from now on.
   */
  async delete(uid: string, released: readonly RestingPort[] = []): Promise<void> {
    await this.database.write([{ type: 'del', table: STREAMS, key: uid }, ...released.map(portWrite)], { owed: true });
    this.#streams.delete(uid);
    this.#incomplete.delete(uid);
  }

  /** Stores released ports. If the disk is full, they are written later. */
  async putPorts(ports: readonly RestingPort[]): Promise<void> {
    if (ports.length > 0) await this.database.write(ports.map(portWrite), { owed: true });
  }

  async close(): Promise<void> {
    await this.database.close();
  }

  /** @param uid Validated by every caller (`parseUid`), so that the path stays in the directory. */
  #file(uid: string): string {
    return join(this.credentials, `${uid}.json`);
  }

  /** @throws SCI_STATE_DAMAGED; SCI_STATE_WRITE when the file cannot be read now */
  async #readCredentials(uid: string): Promise<StreamTls> {
    try {
      return CredentialsFile.parse(JSON.parse(await readFile(this.#file(uid), 'utf8')));
    } catch (error) {
      if ((systemCode(error) ?? 'ENOENT') !== 'ENOENT') throw stateError('read', this.#file(uid), error);
      // Without the cause: the message of a parser may quote the credentials.
      throw new SciStreamError('SCI_STATE_DAMAGED', `The credentials of stream ${uid} are lost or damaged.`, {
        suggestions: [`Restore the file ${this.#file(uid)}`, `Or release the stream: scistream stream down ${uid}`],
      });
    }
  }
}

const portWrite = (value: RestingPort): Write => ({ type: 'put', table: PORTS, key: String(value.port), value });

const stored = ({ tls: _secret, ...rest }: GatewayStream): Stored => rest;

/** Checks that a repeated request is the first one. @throws SCI_STREAM_EXISTS for a different request */
export function mustEqual(
  gateway: string,
  uid: string,
  asked: Pick<GatewayStream, 'spec' | 'tls'>,
  { spec, tls }: GatewayStream,
): void {
  if (isDeepStrictEqual([asked.spec, asked.tls], [spec, tls])) return;
  throw new S2DSException('SCI_STREAM_EXISTS', `Gateway ${gateway} has a different stream ${uid}.`);
}

/** The listeners of a stream, as those that connect reach them. */
export function advertised({
  listeners,
  advertise,
}: Pick<GatewayStream, 'listeners' | 'advertise'>): readonly Address[] {
  return advertise === undefined ? listeners : listeners.map(({ port }) => ({ host: advertise, port }));
}

/** The networks from which the listeners of a stream accept connections, if they are restricted. */
export function acceptedFrom({ spec, sources = spec.sources }: Pick<GatewayStream, 'spec' | 'sources'>): {
  readonly sources?: readonly string[];
} {
  return sources ? { sources } : {};
}

/** Makes the request to a data server (S2DS). Without credentials for a record that has lost them. */
export function requestOf(
  uid: string,
  { spec, sources, tls, node, localAddress }: GatewayStream,
  listeners: readonly ReservedListener[],
): S2DSRequest {
  return {
    uid,
    spec: { ...spec, ...acceptedFrom({ spec, ...(sources && { sources }) }) },
    listeners,
    ...(tls && { tls }),
    ...(node !== undefined && { node }),
    ...(localAddress !== undefined && { localAddress }),
  };
}
