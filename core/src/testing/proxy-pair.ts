import { formatAddress, type Target } from '../contracts/address.js';
import type { S2DSException } from '../contracts/errors.js';
import type { S2DS, S2DSCapabilities, S2DSRequest } from '../contracts/s2ds.js';
import type { S2DSStatus } from '../contracts/stream.js';
import type { TestCredentials } from './credentials.js';

/** The two streams of a pair. */
export interface Pair {
  /** Outbound: plain listeners, encrypted connections to the targets. */
  readonly near: S2DSRequest;
  /** Inbound: encrypted listeners, plain connections to the targets. */
  readonly far: S2DSRequest;
  readonly credentials: TestCredentials;
  /** Targets of `near`: the listeners of `far`, or a stand-in that a test inserted. */
  readonly through: readonly Target[];
}

/**
 * Two streams with an encrypted leg that behave like one plain stream: clients → outbound stream → inbound stream →
 * targets. Every case of the contract thus runs over an encrypted leg. Kills and status queries apply to the near
 * stream.
 */
export class PairedS2DS implements S2DS {
  readonly supports: S2DSCapabilities;

  /**
   * @param pairs Pairs by uid; shared with the object that adopts them.
   * @param make Reserves the ports of the far stream and creates credentials.
   */
  constructor(
    readonly near: S2DS,
    readonly far: S2DS,
    private readonly pairs: Map<string, Pair>,
    private readonly make: (request: S2DSRequest) => Promise<Pair>,
  ) {
    this.supports = {
      ...near.supports,
      udp: near.supports.udp && far.supports.udp,
      liveRetarget: near.supports.liveRetarget && far.supports.liveRetarget,
    };
  }

  async start(request: S2DSRequest, signal?: AbortSignal): Promise<void> {
    const known = this.pairs.get(request.uid);
    const pair = known ?? (await this.make(request));
    await this.far.start(pair.far, signal);
    try {
      await this.near.start(pair.near, signal);
    } catch (error) {
      await this.far.release(pair.far.uid);
      throw error;
    }
    this.pairs.set(request.uid, pair);
  }

  async updateTargets(uid: string, targets: readonly Target[], signal?: AbortSignal): Promise<void> {
    const pair = this.pairs.get(uid);
    if (!pair) return await this.near.updateTargets(uid, targets, signal);
    // A target that loops back to the stream must still loop back.
    const own = pair.near.listeners.map(({ address }) => formatAddress(address));
    const loop = (target: Target): Target => pair.far.listeners[own.indexOf(formatAddress(target))]?.address ?? target;
    await this.far.updateTargets(pair.far.uid, targets.map(loop), signal);
    await this.near.updateTargets(uid, pair.through, signal);
  }

  async adopt(request: S2DSRequest, targets: readonly Target[]): Promise<boolean> {
    const pair = this.pairs.get(request.uid) ?? (await this.make(request));
    this.pairs.set(request.uid, pair);
    const near = { ...pair.near, listeners: request.listeners };
    const adopted = [await this.near.adopt(near, pair.through), await this.far.adopt(pair.far, targets)];
    if (adopted.every(Boolean)) return true;
    await this.release(request.uid);
    return false;
  }

  async release(uid: string): Promise<void> {
    const pair = this.pairs.get(uid);
    await this.near.release(uid);
    if (pair) await this.far.release(pair.far.uid);
    this.pairs.delete(uid);
  }

  status(uid: string): Promise<S2DSStatus> {
    return this.near.status(uid);
  }

  ended(uid: string): Promise<S2DSException | undefined> {
    return this.near.ended(uid);
  }
}
