import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { formatAddress } from '../contracts/address.js';
import { type Identity, ownerOf } from '../contracts/authenticator.js';
import { SciStreamError, systemCode, toSciStreamError } from '../contracts/errors.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import { mustBeTrusted } from '../contracts/trust.js';
import { Refusal } from './refusal.js';

/** Key `audit` of the configuration. */
export interface AuditSettings {
  readonly file: string;
  /** Maximum size, bytes. A larger file is rotated to FILE.1, FILE.1 to FILE.2, and so on. */
  readonly size: number;
  /** Number of rotated files to keep. */
  readonly keep: number;
}

/** Entries with the same key in this time are combined: one line, then one line with their number, ms. */
const REPEAT_MS = 60_000;
/** Keys that are combined at a time. Entries with further keys are written individually. */
const MOST_REPEATS = 10_000;

/** Characters that JSON does not escape, but that a terminal or a reader of lines could misread. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const escaped = (text: string): string =>
  text.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

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
 */
export class AuditLog {
  #fd: number | undefined;
  #size = 0;
  readonly #repeats = new Map<string, Repeat>();
  #tellingRepeats: NodeJS.Timeout | undefined;

  constructor(private readonly settings: AuditSettings) {}

  /** Opens the file, or reopens it after another program has moved it. @throws SCI_AUDIT_WRITE, SCI_FILE_UNTRUSTED */
  open(): void {
    mustBeTrusted(this.settings.file);
    this.#try(() => {
      this.#closeFile();
      const fd = openSync(this.settings.file, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, 0o600);
      this.#fd = fd;
      const found = fstatSync(fd);
      this.#size = found.isFile() ? found.size : 0;
      // The mode of a device such as /dev/stderr stays unchanged.
      if (found.isFile() && (found.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    });
  }

  /** Writes an entry as one line. @throws SCI_AUDIT_WRITE */
  append(entry: object): void {
    const line = Buffer.from(`${JSON.stringify(entry).replace(UNSAFE, escaped)}\n`);
    if (this.#fd === undefined) this.open();
    if (this.#size > 0 && this.#size + line.length > this.settings.size) this.#rotate();
    this.#try(() => this.#write(this.#fd ?? -1, line));
  }

  /**
   * Writes entries that a caller can cause at will and could use to rotate other entries away. The first entry of a key is
   * written. Entries of the next minute are counted, and the last one is written with their number as `repeated`.
   * @throws SCI_AUDIT_WRITE for the first entry of a key
   */
  appendSeldom(key: string, entry: object): void {
    const known = this.#repeats.get(key);
    if (known) {
      known.again += 1;
      known.last = entry;
      return;
    }
    this.append(entry);
    if (this.#repeats.size < MOST_REPEATS) this.#repeats.set(key, { last: entry, again: 0, since: performance.now() });
    this.#tellingRepeats ??= setInterval(() => this.#tellRepeats(REPEAT_MS), REPEAT_MS / 4).unref();
  }

  /** Writes the counted entries and closes the file. The next `append` reopens it. */
  close(): void {
    this.#tellRepeats(0);
    clearInterval(this.#tellingRepeats);
    this.#tellingRepeats = undefined;
    this.#closeFile();
  }

  /** Writes the counted entries that are older than `ms`. If a write fails, the rest is retried later. */
  #tellRepeats(ms: number): void {
    const due = [...this.#repeats].filter(([, { since }]) => performance.now() - since >= ms);
    for (const [key, { last, again }] of due) {
      try {
        if (again > 0) this.append({ ...last, repeated: again });
        this.#repeats.delete(key);
      } catch {
        return;
      }
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

/** Records every decision of another policy before it takes effect. Rejects actions that cannot be recorded. */
export class AuditedPolicy implements Policy {
  constructor(
    private readonly policy: Policy,
    private readonly log: AuditLog,
  ) {}

  async load(): Promise<void> {
    this.log.open();
    await this.policy.load?.();
  }

  close(): void {
    this.policy.close?.();
    this.log.close();
  }

  async check(identity: Identity, action: Action): Promise<Granted> {
    if (action.kind === 'list') return await this.policy.check(identity, action);
    const asked = entryOf(identity, action);
    let granted: Granted;
    try {
      granted = await this.policy.check(identity, action);
    } catch (error) {
      const { code, message } = toSciStreamError(error);
      const { rule, reason } = error instanceof Refusal ? error : { rule: undefined, reason: message };
      const line = { ...asked, decision: 'refused', rule, code, reason };
      if (action.kind === 'view') this.log.appendSeldom(keyOf(identity, code), line);
      else this.log.append(line);
      throw error;
    }
    const inForce = granted.targets && { inForce: granted.targets.map(formatAddress) };
    const sources = granted.sources && { sources: granted.sources };
    const line = { ...asked, decision: 'allowed', rule: granted.rule ?? 'owner', ...inForce, ...sources };
    if (action.kind === 'view') this.log.appendSeldom(keyOf(identity, action.stream.uid), line);
    else this.log.append(line);
    return granted;
  }
}

/** Key of the entries of one caller that are combined. */
const keyOf = (identity: Identity, what: string): string => `${ownerOf(identity)} ${identity.peer ?? ''} ${what}`;

/** An audit entry. It contains no secrets: identities and records contain neither tokens nor credentials of streams. */
function entryOf(identity: Identity, action: Action): object {
  const { peer } = identity;
  const head = {
    time: new Date().toISOString(),
    who: ownerOf(identity),
    ...(identity.admin ? { admin: true } : {}),
    peer,
    action: action.kind,
  };
  if (action.kind === 'drain') return { ...head, gateway: action.gateway };
  const { uid, spec } = action.stream;
  const { role, connections, encryption } = spec;
  const targets = 'targets' in action ? { targets: action.targets.map(formatAddress) } : {};
  const request = action.kind === 'request' ? { connections, encryption, proxy: action.stream.proxy } : {};
  return { ...head, uid, role, ...request, ...targets };
}
