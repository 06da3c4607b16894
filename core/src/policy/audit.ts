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
import { Refusal } from './refusal.js';

/** Key `audit` of the configuration. */
export interface AuditSettings {
  readonly file: string;
  /** A file of more bytes than this becomes FILE.1, that one FILE.2 … */
  readonly size: number;
  /** How many older files are kept. */
  readonly keep: number;
}

/** What is said again and again in this time, ms, is one line and the number of those that were left out. */
const REPEAT_MS = 60_000;
/** Of how many things that is remembered; beyond, each is a line again. */
const MOST_REPEATS = 10_000;

/** Something that was written, and said again since. */
interface Repeat {
  last: object;
  again: number;
  /** By `performance.now`, ms. */
  since: number;
}

/**
 * A file of JSON lines, 0600. Lines are written before `append` returns, in one piece or not at all (a full disk leaves
 * no half line), but not forced to the disk.
 */
export class AuditLog {
  #fd: number | undefined;
  #size = 0;
  readonly #repeats = new Map<string, Repeat>();
  #tellingRepeats: NodeJS.Timeout | undefined;

  constructor(private readonly settings: AuditSettings) {}

  /** Opens the file anew, so that other programs may move it away. @throws SCI_AUDIT_WRITE */
  open(): void {
    this.#try(() => {
      this.#closeFile();
      const fd = openSync(this.settings.file, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, 0o600);
      this.#fd = fd;
      const found = fstatSync(fd);
      this.#size = found.isFile() ? found.size : 0;
      // Not of a device such as /dev/stderr, which is not ours.
      if (found.isFile() && (found.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    });
  }

  /** @throws SCI_AUDIT_WRITE */
  append(entry: object): void {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    if (this.#fd === undefined) this.open();
    if (this.#size > 0 && this.#size + line.length > this.settings.size) this.#rotate();
    this.#try(() => this.#write(this.#fd ?? -1, line));
  }

  /**
   * As `append`, for what a caller can make happen at will: with many such lines it could have the others rotated away. The
   * first of its key is written, those of the minute after it are counted, and told as `repeated` of the last.
   * @throws SCI_AUDIT_WRITE when it is the first
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

  /** May be used again afterwards. */
  close(): void {
    this.#tellRepeats(0);
    clearInterval(this.#tellingRepeats);
    this.#tellingRepeats = undefined;
    this.#closeFile();
  }

  /** Tells what was left out longer than that ago. What cannot be written now is told the next time. */
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
      throw new SciStreamError('SCI_AUDIT_WRITE', `The audit log cannot be written (${why}), so nothing was done.`, {
        cause,
        suggestions: [`The operator has to make room for, or give access to, ${file}.`],
      });
    }
  }
}

/** Records every decision of another policy before anybody acts on it; what cannot be recorded is refused. */
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

/** Looks of one caller that are told together. */
const keyOf = (identity: Identity, what: string): string => `${ownerOf(identity)} ${identity.peer ?? ''} ${what}`;

/** Nothing of it is secret: neither tokens nor the credentials of streams are in identities and records. */
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
