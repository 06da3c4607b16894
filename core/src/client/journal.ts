import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, systemCode } from '../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../contracts/files.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { parseUid, type ProbeAnswer } from '../contracts/stream.js';
import { stateHome } from '../contracts/user-directories.js';
import { EndpointSchema, endpointToJson, type Endpoint } from './endpoint.js';
import { ProbeSchema } from './ticket.js';

/** A stream of this user and its control servers, so that `stream down NAME` works without configured facilities. */
export interface JournalEntry {
  readonly uid: string;
  readonly name: string;
  /** Control server of the inbound side, if this user created that side. */
  readonly from?: Endpoint | undefined;
  /** Control server of the outbound side, if this user created that side. */
  readonly to?: Endpoint | undefined;
  /** Control server of an inbound side that another user created; it can open a probe. */
  readonly peer?: Endpoint | undefined;
  /** How the listeners of that inbound side answer a probe, if its ticket says so. */
  readonly probe?: ProbeAnswer | undefined;
  /** ISO 8601 UTC. */
  readonly createdAt: string;
  /** ISO 8601 UTC: end of the lifetime, when the control servers release the stream. */
  readonly expiresAt: string;
}

const EntrySchema = z.strictObject({
  uid: z.string().regex(/^[A-Za-z0-9-]{8,64}$/),
  name: z.string(),
  from: EndpointSchema.optional(),
  to: EndpointSchema.optional(),
  peer: EndpointSchema.optional(),
  probe: ProbeSchema.optional(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
});

/** `$SCISTREAM_STATE_DIR/scistream`, or where the user's programs keep state. */
export function clientStateDir(env: NodeJS.ProcessEnv = process.env): string {
  const own = env['SCISTREAM_STATE_DIR'];
  return own ? join(own, 'scistream') : stateHome(env);
}

/**
 * Stores the streams of one user: one file of mode 0600 for each stream in `<state dir>/streams`. Several processes may
 * use it at the same time, because each file is replaced atomically.
 */
export class Journal {
  readonly #dir: string;
  readonly #log: Logger;

  /** @param stateDir Default {@link clientStateDir}. */
  constructor(stateDir: string = clientStateDir(), log: Logger = silentLogger) {
    this.#dir = join(stateDir, 'streams');
    this.#log = log;
  }

  /** Writes an entry. Sides that only an earlier entry of the same uid has are kept. */
  async put(entry: JournalEntry): Promise<void> {
    await this.#write({ ...(await this.get(entry.uid)), ...entry });
  }

  async get(uid: string): Promise<JournalEntry | undefined> {
    try {
      return EntrySchema.parse(JSON.parse(await readFile(this.#path(uid), 'utf8')));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      if (systemCode(error)) throw error;
      this.#log.warn({ file: this.#path(uid), error: messageOf(error) }, 'record of a stream unreadable, skipped');
      return undefined;
    }
  }

  /**
   * All entries, oldest first. An unreadable entry is only a warning, because the control servers have the streams,
   * too.
   */
  async list(): Promise<readonly JournalEntry[]> {
    const files = (await this.#files()).filter((file) => /^[A-Za-z0-9-]{8,64}\.json$/.test(file));
    const entries = await Promise.all(
      files.map((file) => this.get(file.slice(0, -'.json'.length)).catch(this.#unreadable)),
    );
    return entries.flatMap((entry) => entry ?? []).sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  /**
   * Removes sides, and the entry together with its last side. Idempotent. A failure is only a warning: the stream has
   * ended anyway, and the next lookup removes the entry.
   */
  async drop(uid: string, sides: readonly ('from' | 'to')[]): Promise<void> {
    const file = this.#path(uid);
    try {
      await this.#drop(uid, sides);
    } catch (error) {
      this.#log.warn({ file, error: messageOf(error) }, 'record of a stream not removed');
    }
  }

  async #drop(uid: string, sides: readonly ('from' | 'to')[]): Promise<void> {
    const entry = await this.get(uid);
    const kept = {
      from: sides.includes('from') ? undefined : entry?.from,
      to: sides.includes('to') ? undefined : entry?.to,
    };
    if (entry && (kept.from || kept.to)) await this.#write({ ...entry, ...kept });
    else await rm(this.#path(uid), { force: true });
  }

  async #write({ from, to, peer, ...rest }: JournalEntry): Promise<void> {
    await makeDirectory(this.#dir);
    const json = {
      ...rest,
      from: from && endpointToJson(from),
      to: to && endpointToJson(to),
      peer: peer && endpointToJson(peer),
    };
    await writeAtomically(this.#path(rest.uid), `${JSON.stringify(json, null, 2)}\n`);
  }

  async #files(): Promise<readonly string[]> {
    try {
      return await readdir(this.#dir);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#unreadable(error);
      return [];
    }
  }

  readonly #unreadable = (error: unknown): undefined => {
    this.#log.warn({ directory: this.#dir, error: messageOf(error) }, 'records of streams unreadable');
  };

  #path(uid: string): string {
    return join(this.#dir, `${parseUid(uid)}.json`);
  }
}
