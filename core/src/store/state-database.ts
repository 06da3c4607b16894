import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { reasonOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory } from '../contracts/files.js';
import { onState } from '../contracts/system-errors.js';
import { EARLIER_LAYOUT, MIGRATIONS } from './migrations.js';
import { WriteQueue, type Write, type WriteOptions } from './write-queue.js';

export type { Write, WriteOptions } from './write-queue.js';

/** Version of the layout. Raised when an older SciStream could no longer read it. */
const SCHEMA = 2;
const SCHEMA_KEY = 'schema';
/** Sizes in bytes. Records are small and read once. The defaults of LevelDB would use up to 16 MiB. */
const SMALL = { cacheSize: 512 * 1024, writeBufferSize: 512 * 1024 };

/** Bytes that an iterator reads ahead. */
const MOST_READ = 256 * 1024;

/** The keys that start with a prefix. Keys are ASCII. */
const range = (prefix: string) => ({ gte: prefix, lt: `${prefix}\x7f` });

/** The durable state of a daemon in the directory `db` of its state directory. Only one process can open it. */
export class StateDatabase {
  readonly #tables = new Map<string, ReturnType<typeof tableOf>>();
  readonly #queue = new WriteQueue((changes, sync) => this.#commit(changes, sync));
  /** Whether a write has failed since the database was opened. */
  #failed = false;

  private constructor(private readonly level: ClassicLevel<string, unknown>) {}

  /**
   * Opens the database, and creates it if it does not exist.
   * @param state The state directory.
   * @throws SCI_STATE_LOCKED while another process has it open; SCI_STATE_DAMAGED; SCI_STATE_NEWER
   */
  static async open(state: string): Promise<StateDatabase> {
    const directory = join(state, 'db');
    await onState('create', directory, () => makeDirectory(directory));
    const level = new ClassicLevel<string, unknown>(directory, { valueEncoding: 'json', ...SMALL });
    try {
      await level.open();
      const found = await level.get(SCHEMA_KEY);
      if (found === undefined) await level.put(SCHEMA_KEY, SCHEMA, { sync: true });
      else if (found === EARLIER_LAYOUT) await migrate(level);
      else if (found !== SCHEMA) throw newer(directory, found);
    } catch (error) {
      await level.close();
      throw SciStreamError.is(error) ? error : openError(directory, error);
    }
    return new StateDatabase(level);
  }

  /** All entries of a table in the order of their keys. */
  async entries(table: string): Promise<readonly (readonly [key: string, value: unknown])[]> {
    return await this.#table(table).iterator().all();
  }

  /** One entry of a table; undefined if it is absent. */
  async get(table: string, key: string): Promise<unknown> {
    return await this.#table(table).get(key);
  }

  /**
   * The entries of a table as JSON texts in the order of their keys, read as they are needed.
   * @param prefix Of the keys; absent: all entries.
   */
  async *texts(table: string, prefix = ''): AsyncGenerator<readonly [key: string, text: string]> {
    const options = { ...(prefix === '' ? {} : range(prefix)), valueEncoding: 'utf8', highWaterMarkBytes: MOST_READ };
    yield* this.#table(table).iterator<string, string>(options);
  }

  /** Removes the entries whose keys start with `prefix`, without reading them. */
  async clear(table: string, prefix: string): Promise<void> {
    await this.#table(table).clear(range(prefix));
  }

  /**
   * Applies all changes or none, and returns when they are on disk. Changes that may be owed never
   * reject: they are retried until they are written.
   * @throws SCI_STATE_WRITE unless the changes may be owed
   */
  write(changes: readonly Write[], options?: WriteOptions): Promise<void> {
    return this.#queue.add(changes, options);
  }

  /** Closes the database in any case. @throws SCI_STATE_WRITE if owed changes could not be written */
  async close(): Promise<void> {
    try {
      await this.#queue.close();
    } finally {
      await this.level.close();
    }
  }

  async #commit(changes: readonly Write[], sync: boolean): Promise<void> {
    try {
      if (this.#failed) await this.#reopen();
      const operations = changes.map((change) =>
        change.type === 'put'
          ? { type: 'put' as const, sublevel: this.#table(change.table), key: change.key, value: change.value }
          : { type: 'del' as const, sublevel: this.#table(change.table), key: change.key },
      );
      await this.level.batch(operations, { sync });
    } catch (cause) {
      this.#failed = true;
      throw new SciStreamError('SCI_STATE_WRITE', `Cannot write to ${this.level.location}: ${reasonOf(cause)}.`, {
        cause,
        suggestions: ['Free space on the disk of the state directory, and check that the directory is writable.'],
      });
    }
  }

  /** Checks that a write succeeds. @throws SCI_STATE_WRITE */
  async check(): Promise<void> {
    await this.write([{ type: 'put', table: 'check', key: 'last', value: new Date().toISOString() }]);
  }

  /**
   * After a failed write, LevelDB either rejects all writes or appends to a log with a partial entry, which it cannot
   * read at the next start. Reopening keeps the complete entries and starts a new log.
   */
  async #reopen(): Promise<void> {
    await this.level.close();
    await this.level.open();
    this.#tables.clear();
    this.#failed = false;
  }

  /** The table with that name, created once: the database keeps every sublevel until it is closed. */
  #table(name: string): ReturnType<typeof tableOf> {
    const known = this.#tables.get(name) ?? tableOf(this.level, name);
    this.#tables.set(name, known);
    return known;
  }
}

/** Rewrites the rows of an earlier layout, all of them or none. */
async function migrate(level: ClassicLevel<string, unknown>): Promise<void> {
  const changes = await Promise.all(
    Object.entries(MIGRATIONS).map(async ([name, migrated]) => {
      const sublevel = tableOf(level, name);
      const rows = await sublevel.iterator().all();
      return rows.map(([key, row]) => ({ type: 'put' as const, sublevel, key, value: migrated(row) }));
    }),
  );
  await level.batch([...changes.flat(), { type: 'put', key: SCHEMA_KEY, value: SCHEMA }], { sync: true });
}

/** A part of the database with its own keys and JSON values. */
const tableOf = (level: ClassicLevel<string, unknown>, name: string) =>
  level.sublevel<string, unknown>(name, { valueEncoding: 'json' });

function openError(directory: string, error: unknown): SciStreamError {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = systemCode(cause);
  const reason = reasonOf(error);
  const held = /already held|temporarily unavailable|Permission denied/.test(reason);
  if (code === 'LEVEL_LOCKED' && !held) {
    return new SciStreamError('SCI_STATE_WRITE', `The file system of ${directory} does not lock files: ${reason}.`, {
      cause: error,
      suggestions: ['Use a directory on a local file system: key state, or --state'],
    });
  }
  // A table that is missing is damage; a disk that is full or read-only is not.
  if (code === 'LEVEL_IO_ERROR' && !reason.includes('No such file')) {
    return new SciStreamError('SCI_STATE_WRITE', `Cannot open ${directory}: ${reason}.`, {
      cause: error,
      suggestions: ['Free space, and check that the daemon can write there. Or use a local file system: key state'],
    });
  }
  if (code === 'LEVEL_LOCKED') {
    return new SciStreamError('SCI_STATE_LOCKED', `Another process uses ${directory}.`, {
      cause: error,
      suggestions: ['Stop that daemon first. To run a second daemon, give it another directory: --state DIR'],
    });
  }
  return new SciStreamError('SCI_STATE_DAMAGED', `Cannot read ${directory}: ${reason}.`, {
    cause: error,
    suggestions: [
      'Check it: scistream state check --config FILE',
      `Start without it, which ends its streams: mv ${directory} ${directory}.damaged`,
    ],
  });
}

const newer = (directory: string, found: unknown): SciStreamError =>
  new SciStreamError(
    'SCI_STATE_NEWER',
    `${directory} has layout ${String(found)}, but this SciStream supports layout ${SCHEMA}.`,
    {
      suggestions: ['Install the version of SciStream that wrote it, or a newer version.'],
    },
  );
