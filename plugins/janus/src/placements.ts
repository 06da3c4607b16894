import { quote, type Placement } from '@scistream/core';
import type { JanusController } from './controller.js';
import { failed } from './failures.js';
import type { JanusOptions } from './options.js';
import { nodeOf, type Session } from './sessions.js';

/** Age at which a placed stream that never started is no longer counted, ms. */
const FORGOTTEN_AFTER_MS = 600_000;

/** Chooses the node with the fewest streams. Placed streams that have not started are counted. */
export class Placements {
  readonly #placed = new Map<string, { readonly node: string; readonly pendingSince?: number }>();

  constructor(
    private readonly controller: JanusController,
    private readonly nodes: JanusOptions['nodes'],
  ) {}

  /** @throws SCI_RUNTIME_FAILED if Janus has none of the configured nodes */
  async place(uid: string, ofStream: (session: Session) => Promise<boolean>): Promise<Placement> {
    const [there, ours] = await Promise.all([this.controller.nodes(), this.controller.sessions()]);
    const known = this.#placed.get(uid)?.node ?? (await this.#nodeOf(ours, ofStream));
    const usable = this.nodes.filter(({ name }) => name === known || (known === undefined && there.includes(name)));
    const load = this.#load(uid, ours);
    const [chosen] = [...usable].sort((a, b) => (load.get(a.name) ?? 0) - (load.get(b.name) ?? 0));
    if (!chosen) {
      const names = this.nodes.map(({ name }) => name).join(', ');
      throw failed(
        `Janus has none of the nodes ${names}; it has ${quote(there.join(', '))}`,
        'Check nodes in runtimes.janus, and GET /nodes?refresh=true of Janus.',
      );
    }
    if (known === undefined) this.#placed.set(uid, { node: chosen.name, pendingSince: Date.now() });
    return { node: chosen.name, wan: chosen.wan, lan: chosen.lan };
  }

  /** Forgets a stream that has ended. */
  forget(uid: string): void {
    this.#placed.delete(uid);
  }

  async #nodeOf(
    ours: readonly Session[],
    ofStream: (session: Session) => Promise<boolean>,
  ): Promise<string | undefined> {
    for (const session of ours) {
      const node = nodeOf(session);
      // Both gateways of a stream may share a controller: a session on another node belongs to the other gateway.
      if (this.nodes.some(({ name }) => name === node) && (await ofStream(session))) return node;
    }
    return undefined;
  }

  #load(uid: string, ours: readonly Session[]): ReadonlyMap<string, number> {
    const load = new Map<string, number>();
    const count = (node: string): void => void load.set(node, (load.get(node) ?? 0) + 1);
    for (const { services } of ours) Object.keys(services).forEach(count);
    for (const [other, { node, pendingSince }] of this.#placed) {
      if (pendingSince === undefined || other === uid) continue;
      if (pendingSince < Date.now() - FORGOTTEN_AFTER_MS) this.#placed.delete(other);
      else count(node);
    }
    return load;
  }

  /** Records that the stream has a session, which is then counted instead. */
  began(uid: string, node: string): void {
    this.#placed.set(uid, { node });
  }
}
