import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { printableLine, SciStreamError, systemCode } from '../../contracts/errors.js';
import { writeAtomically } from '../../contracts/files.js';
import type { Drain } from '../../contracts/gateway.js';
import { onState, stateError } from '../../contracts/system-errors.js';
import { Queue } from '../../contracts/wait.js';

/** Longest reason of a drain, characters. */
const MAX_REASON = 200;

const drainSchema = z.strictObject({ name: z.string(), since: z.string().optional(), reason: z.string().optional() });
/** An earlier version stored only names. */
const storedSchema = z.strictObject({ drained: z.array(z.union([z.string(), drainSchema])) });

/** Checks the reason of a drain: one printable line. @throws SCI_USAGE if it is too long */
export function parseReason(text: string): string {
  const reason = printableLine(text).trim();
  if (reason.length <= MAX_REASON) return reason;
  throw new SciStreamError('SCI_USAGE', `The reason has ${reason.length} characters, more than ${MAX_REASON}.`, {
    suggestions: [`Use at most ${MAX_REASON} characters.`],
  });
}

/** The drained gateways of a control server, on disk. */
export class Drains {
  #drains: ReadonlyMap<string, Drain> = new Map();
  readonly #queue = new Queue();
  readonly #file: string;

  /** @param state Directory of the control server. */
  constructor(state: string) {
    this.#file = join(state, 'gateways.json');
  }

  /** Called once, first. @throws SCI_STATE_DAMAGED, SCI_STATE_WRITE if the file cannot be read */
  async open(): Promise<void> {
    this.#drains = await this.#read();
  }

  /** The drain of a gateway; undefined if it is not drained. */
  of(name: string): Drain | undefined {
    return this.#drains.get(name);
  }

  /**
   * Stores that a gateway is drained, or no longer. A repeated drain keeps its time.
   * @param reason Empty: the stored reason remains.
   * @throws SCI_STATE_WRITE; nothing has changed then
   */
  async set(name: string, drained: boolean, reason: string): Promise<void> {
    await this.#queue.run(async () => {
      const next = new Map(this.#drains);
      const before = next.get(name);
      const now = new Date().toISOString();
      if (drained) next.set(name, { since: now, ...before, ...(reason !== '' && { reason }) });
      else next.delete(name);
      const stored = { drained: [...next].map(([name, drain]) => ({ name, ...drain })) };
      await onState('write', this.#file, () => writeAtomically(this.#file, JSON.stringify(stored)));
      this.#drains = next;
    });
  }

  async #read(): Promise<ReadonlyMap<string, Drain>> {
    try {
      const { drained } = storedSchema.parse(JSON.parse(await readFile(this.#file, 'utf8')));
      return new Map(
        drained.map((one) => {
          if (typeof one === 'string') return [one, {}];
          const { name, ...drain } = one;
          return [name, drain];
        }),
      );
    } catch (cause) {
      if (systemCode(cause) === 'ENOENT') return new Map();
      if (systemCode(cause)) throw stateError('read', this.#file, cause);
      throw new SciStreamError('SCI_STATE_DAMAGED', `Cannot read ${this.#file}, the list of drained gateways.`, {
        cause,
        suggestions: [`Remove it and drain the gateways again: rm ${this.#file}`],
      });
    }
  }
}
