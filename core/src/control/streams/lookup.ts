import { type Identity, ownerOf } from '../../contracts/authenticator.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import { parseUid, type StreamRecord, unknownStream } from '../../contracts/stream.js';
import type { StreamMachine } from './machine.js';
import { internalUid, nobodys } from './own-uid.js';

/** A stream, and its machine while it is live. */
export interface Found {
  readonly record: StreamRecord;
  readonly machine: StreamMachine | undefined;
}

/** Finds the stream that a caller means with a uid. */
export class StreamLookup {
  constructor(
    private readonly live: ReadonlyMap<string, StreamMachine>,
    private readonly store: StreamStore,
  ) {}

  /**
   * Finds a stream for a policy decision and a change after it. The change must go through the returned machine: when the
   * policy has decided, another stream may have the uid. For a uid that no stream of the caller has, the record is one
   * that every policy rejects.
   * @throws SCI_UID_INVALID; SCI_STREAM_NOT_FOUND for an admin
   */
  async find(uid: string, identity: Identity): Promise<Found> {
    const found = await this.seek(parseUid(uid), identity);
    if (!found && identity.admin) throw unknownStream(uid);
    return found ?? { record: nobodys(uid), machine: undefined };
  }

  /** The stream of the caller, or for an admin of any owner. */
  async seek(uid: string, identity: Identity): Promise<Found | undefined> {
    const owner = ownerOf(identity);
    for (const key of [internalUid(owner, uid), uid]) {
      const found = await this.#at(key);
      if (found && (identity.admin || found.record.owner === owner)) return found;
    }
    return undefined;
  }

  /** The uid of the stream that a new request is for. */
  async uidFor(owner: string, uid: string): Promise<string> {
    const internal = internalUid(owner, uid);
    if (await this.#at(internal)) return internal;
    const known = await this.#at(uid);
    return known && known.record.owner !== owner ? internal : uid;
  }

  /** A live stream is found before its record is stored. */
  async #at(uid: string): Promise<Found | undefined> {
    const machine = this.live.get(uid);
    const record = machine?.record ?? (await this.store.get(uid));
    return record && { record, machine };
  }
}
