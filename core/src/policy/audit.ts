import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { printableJson, SciStreamError, systemCode } from '../contracts/errors.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { mustBeTrusted } from '../contracts/trust.js';
import { formatDuration } from '../contracts/units.js';
import { AuditQuota, WINDOW_MS } from './audit-quota.js';

/** Key `audit` of the configuration. */
export interface AuditSettings {
  readonly file: string;
  /** Maximum size, bytes. A larger file is rotated to FILE.1, FILE.1 to FILE.2, and so on. */
  readonly size: number;
  /** Number of rotated files to keep. */
  readonly keep: number;
  /** Age of its first line at which a file is rotated, ms. Default: only the size matters. */
  readonly rotateMs?: number;
  /** Minimum age of the last line of a file that is deleted, ms. Default 0. Not applied if `keep` is 0. */
  readonly minAgeMs?: number;
}

/** Keys that are combined at a time. */
const MOST_REPEATS = 10_000;
/** Pause between two attempts to rotate a file while no older file may be deleted, ms. */
const ROTATE_AGAIN_MS = 60_000;
/** Part of a file that has the time of its first line, bytes. */
const HEAD = 200;

/** An entry that was written and has been repeated since. */
interface Repeat {
  last: object;
  again: number;
  /** Time of `performance.now`, ms. */
  since: number;
}

/**
 * A file of JSON lines with mode 0600. `append` returns after it has written a complete line. A full disk leaves no
 * partial line. Lines are not synced to disk.
 *
 * Callers must not be able to displace the lines of others. Entries that they can cause at will are combined or limited,
 * and no file is deleted before its minimum age. If the disk budget is used up before that, the present file grows, and
 * limited entries are only counted.
 */
export class AuditLog {
  #fd: number | undefined;
  #size = 0;
  /** Time of the first line of the file, ms since the epoch. */
  #since = 0;
  /** Whether no older file may be deleted, and the time of the next attempt to rotate, ms since the epoch. */
  #full = false;
  #rotateAt = 0;
  readonly #quota = new AuditQuota();
  readonly #repeats = new Map<string, Repeat>();
  #tellingRepeats: NodeJS.Timeout | undefined;

  constructor(
    private readonly settings: AuditSettings,
    private readonly log: Logger = silentLogger,
  ) {}

  /** Opens the file, or reopens it after another program has moved it. @throws SCI_AUDIT_WRITE, SCI_FILE_UNTRUSTED */
  open(): void {
    mustBeTrusted(this.settings.file);
    this.#try(() => {
      this.#closeFile();
      const fd = openSync(this.settings.file, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, 0o600);
      this.#fd = fd;
      const found = fstatSync(fd);
      this.#size = found.isFile() ? found.size : 0;
      this.#since = (this.#size > 0 && firstTime(this.settings.file)) || Date.now();
      // The mode of a device such as /dev/stderr stays unchanged.
      if (found.isFile() && (found.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    });
  }

  /** Writes an entry as one line. @throws SCI_AUDIT_WRITE */
  append(entry: object): void {
    const line = Buffer.from(`${printableJson(JSON.stringify(entry))}\n`);
    if (this.#fd === undefined) this.open();
    this.#rotateIfDue(line.length);
    this.#try(() => this.#write(this.#fd ?? -1, line));
  }

  /**
   * Writes entries that a caller can repeat without effect. The first entry of a key is written. Entries of the next minute
   * are counted, and the last one is written with their number as `repeated`.
   * @param source If given, the first entry is limited as for {@link appendLimited}.
   * @throws SCI_AUDIT_WRITE for the first entry of a key
   */
  appendSeldom(key: string, entry: object, source?: string): void {
    const known = this.#repeats.get(key);
    if (known) {
      known.again += 1;
      known.last = entry;
      return;
    }
    if (source === undefined) this.append(entry);
    else if (!this.appendLimited(source, entry)) return;
    if (this.#repeats.size < MOST_REPEATS) this.#repeats.set(key, { last: entry, again: 0, since: performance.now() });
    this.#tellSoon();
  }

  /**
   * Writes an entry about a refusal, or counts it if the source has caused too many in this minute.
   * @param source Identity, or network of a caller without one.
   * @returns Whether the entry was written.
   * @throws SCI_AUDIT_WRITE
   */
  appendLimited(source: string, entry: object): boolean {
    this.#tellSoon();
    if (!this.#quota.take(source, this.#full)) return false;
    this.append(entry);
    return true;
  }

  /** Writes the counted entries and closes the file. The next `append` reopens it. */
  close(): void {
    this.#tellCounted(0);
    clearInterval(this.#tellingRepeats);
    this.#tellingRepeats = undefined;
    this.#closeFile();
  }

  #tellSoon(): void {
    this.#tellingRepeats ??= setInterval(() => this.#tellCounted(WINDOW_MS), WINDOW_MS / 4).unref();
  }

  /** Writes the counted entries that are older than `ms`. If a write fails, the rest is retried later. */
  #tellCounted(ms: number): void {
    const due = [...this.#repeats].filter(([, { since }]) => performance.now() - since >= ms);
    try {
      for (const [key, { last, again }] of due) {
        if (again > 0) this.append({ ...last, repeated: again });
        this.#repeats.delete(key);
      }
      for (const { source, count } of this.#quota.due(ms)) {
        this.append({ time: new Date().toISOString(), action: 'suppressed', source, suppressed: count });
        this.#quota.told(source, count);
      }
    } catch {
      return;
    }
  }

  #closeFile(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  #write(fd: number, line: Buffer): void {
    let done = 0;
    try {
      while (done < line.length) done += writeSync(fd, line, done);
      this.#size += line.length;
    } catch (error) {
      if (done > 0 && fstatSync(fd).isFile()) ftruncateSync(fd, this.#size);
      throw error;
    }
  }

  /** Rotates the file if its size or age requires it, before a line of `length` bytes. */
  #rotateIfDue(length: number): void {
    const { size, rotateMs = Infinity } = this.settings;
    const now = Date.now();
    if (this.#size === 0 || now < this.#rotateAt) return;
    const large = this.#size + length > size;
    if (!large && now - this.#since <= rotateMs) return;
    const young = this.#isYoung();
    this.#mark(large && young);
    if (young) this.#rotateAt = now + ROTATE_AGAIN_MS;
    else this.#rotate();
  }

  #rotate(): void {
    const { file, keep } = this.settings;
    this.#try(() => {
      if (keep === 0) rmSync(file, { force: true });
      for (let i = keep; i >= 1; i -= 1) {
        try {
          renameSync(i === 1 ? file : `${file}.${i - 1}`, `${file}.${i}`);
        } catch (error) {
          if (systemCode(error) !== 'ENOENT') throw error;
        }
      }
    });
    this.open();
  }

  /** Whether the file that a rotation deletes has not reached its minimum age. */
  #isYoung(): boolean {
    const { file, keep, minAgeMs = 0 } = this.settings;
    if (keep === 0 || minAgeMs === 0) return false;
    const last = statSync(`${file}.${keep}`, { throwIfNoEntry: false });
    return last !== undefined && Date.now() - last.mtimeMs < minAgeMs;
  }

  #mark(full: boolean): void {
    if (full && !this.#full) {
      const { file, size, keep, minAgeMs = 0 } = this.settings;
      const fields = { file, size, keep, minAge: formatDuration(minAgeMs) };
      this.log.error(fields, 'audit log exceeds size and keep before minAge; refusals are counted only');
    }
    this.#full = full;
  }

  #try(work: () => void): void {
    try {
      work();
    } catch (cause) {
      const { file } = this.settings;
      const why = systemCode(cause) ?? 'unknown error';
      throw new SciStreamError(
        'SCI_AUDIT_WRITE',
        `The audit log cannot be written (${why}), so the request was rejected.`,
        {
          cause,
          suggestions: [`The operator must free disk space for ${file} or make it writable.`],
        },
      );
    }
  }
}

/** The time of the first line of a file, ms since the epoch; undefined if it has none. */
function firstTime(file: string): number | undefined {
  const fd = openSync(file, 'r');
  try {
    const head = Buffer.alloc(HEAD);
    const text = head.toString('latin1', 0, readSync(fd, head, 0, HEAD, 0));
    return Date.parse(/"time":"([^"]+)"/.exec(text)?.[1] ?? '') || undefined;
  } finally {
    closeSync(fd);
  }
}
