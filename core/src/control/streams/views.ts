import type { Identity } from '../../contracts/authenticator.js';
import { toSciStreamError } from '../../contracts/errors.js';
import type { Gateway } from '../../contracts/gateway.js';
import type { Policy } from '../../contracts/policy.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import type { StreamEvent, StreamRecord, StreamSnapshot } from '../../contracts/stream.js';
import type { GatewayPool } from '../gateways/pool.js';
import { runs } from './life.js';
import type { StreamLookup } from './lookup.js';
import { pageOf, type Page, type PageRequest } from './page.js';

interface Parts {
  readonly lookup: StreamLookup;
  readonly policy: Policy;
  readonly store: StreamStore;
  readonly gateways: GatewayPool;
  /** The records of all live streams. */
  readonly records: () => readonly StreamRecord[];
}

/** What callers may see of streams. Changes nothing. Methods throw SCI_STREAM_NOT_FOUND and SCI_FORBIDDEN. */
export class StreamViews {
  constructor(private readonly parts: Parts) {}

  /** One stream with its status. @param kind The action for the policy; `list` for one of many repeated reads. */
  async get(uid: string, identity: Identity, kind: 'view' | 'list' = 'view'): Promise<StreamSnapshot> {
    return await this.#view(await this.#allowed(uid, identity, kind));
  }

  /** The gateway of a stream that the caller may see, and its uid there. Does not ask the gateway for its state. */
  async place(asked: string, identity: Identity): Promise<{ gateway: Gateway; uid: string }> {
    const { gateway, uid } = await this.#allowed(asked, identity, 'view');
    return { gateway: this.parts.gateways.of(gateway), uid };
  }

  /** The events of a stream, oldest first. */
  async events(uid: string, identity: Identity): Promise<readonly StreamEvent[]> {
    return await this.parts.store.events((await this.#allowed(uid, identity, 'view')).uid);
  }

  /** One page of the streams that the caller may see. @throws SCI_USAGE for an invalid token */
  async list(includeEnded: boolean, page: PageRequest, identity: Identity): Promise<Page> {
    const records = includeEnded ? await this.parts.store.list() : this.parts.records();
    const allowed = (stream: StreamRecord): Promise<boolean> =>
      this.parts.policy.check(identity, { kind: 'list', stream }).then(
        () => true,
        () => false,
      );
    return await pageOf(records, page, allowed);
  }

  /** Records with their status. */
  async view(records: readonly StreamRecord[]): Promise<readonly StreamSnapshot[]> {
    return await Promise.all(records.map((record) => this.#view(record)));
  }

  /** Settles when the record of a live stream changes, or immediately if the stream has ended. */
  async changed(uid: string, identity: Identity, signal: AbortSignal): Promise<void> {
    await (await this.parts.lookup.seek(uid, identity))?.machine?.changed(signal);
  }

  async #allowed(uid: string, identity: Identity, kind: 'view' | 'list'): Promise<StreamRecord> {
    const { record } = await this.parts.lookup.find(uid, identity);
    await this.parts.policy.check(identity, { kind, stream: record });
    return record;
  }

  async #view(record: StreamRecord): Promise<StreamSnapshot> {
    const ends = record.state === 'releasing';
    if (!runs(record) && !ends) return { record };
    try {
      const status = await this.parts.gateways.reachable(record.gateway).status(record.uid);
      return ends ? { record } : { record, status };
    } catch (error) {
      if (ends && toSciStreamError(error).code === 'SCI_STREAM_NOT_FOUND') return { record };
      // No answer does not mean failed: a slow proxy or gateway may still forward data.
      return { record, error: toSciStreamError(error) };
    }
  }
}
