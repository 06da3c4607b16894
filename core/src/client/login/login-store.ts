import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, SciStreamError, systemCode } from '../../contracts/errors.js';
import { poll } from '../../contracts/wait.js';
import { loginRequired, LoginSchema, type ServerLogin } from './login.js';

/** How long another process may take to renew tokens, ms. */
const LOCK_TIMEOUT_MS = 100_000;
/** Age at which a lock is nobody's any more, ms: longer than all requests to an issuer under it may take. */
const LOCK_STALE_MS = 90_000;

const StoredSchema = LoginSchema.extend({
  version: z.literal(1),
  /** Absent where an earlier version logged in. */
  server: z.string().optional(),
  accessToken: z.string().min(1),
  refreshToken: z.string().min(1).optional(),
  obtainedAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
});

/** The tokens of one login. Secret. */
export type StoredTokens = Readonly<
  Pick<z.output<typeof StoredSchema>, 'accessToken' | 'refreshToken' | 'obtainedAt' | 'expiresAt'>
>;

/** {@link StoredTokens} and for which control server they are; undefined: nobody knows. */
export type FoundTokens = StoredTokens & { readonly server?: string | undefined };

/** `logins` in the user's configuration directory. */
function loginDir(env: NodeJS.ProcessEnv = process.env): string {
  const own = env['SCISTREAM_CONFIG_DIR'] || join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'scistream');
  return join(own, 'logins');
}

/** The tokens of one facility: a file (0600) in a directory of its own (0700), used by many processes at the same time. */
export class LoginStore {
  readonly #path: string;

  constructor(
    readonly login: ServerLogin,
    private readonly directory = loginDir(),
  ) {
    this.#path = join(directory, `${login.facility}.json`);
  }

  /**
   * @returns undefined where there are none. They may be for another control server than this login.
   * @throws SCI_LOGIN_REQUIRED when they are of another login than the configuration says now, damaged, or open to others.
   */
  async read(): Promise<FoundTokens | undefined> {
    const { facility } = this.login;
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
      const { mode } = await stat(this.#path);
      if ((mode & 0o077) !== 0)
        throw loginRequired(this.login, `Other users can read ${this.#path}, so it is not used.`);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      if (SciStreamError.is(error)) throw error;
      throw loginRequired(this.login, `Cannot read the login for ${facility}: ${messageOf(error)}.`, error);
    }
    const stored = StoredSchema.safeParse(parseJson(text)).data;
    if (!stored) throw loginRequired(this.login, `The login for ${facility} is damaged.`);
    const same = (['facility', 'issuer', 'client', 'scope', 'resource'] as const).every(
      (key) => stored[key] === this.login[key],
    );
    if (!same) throw loginRequired(this.login, `The login for ${facility} is for another issuer, client or scope.`);
    return stored;
  }

  /** Only under {@link exclusively}. */
  async write(tokens: StoredTokens): Promise<void> {
    const { accessToken, refreshToken, obtainedAt, expiresAt } = tokens;
    const { facility, issuer, client, scope, resource, server } = this.login;
    const login = { facility, issuer, client, scope, resource, server };
    const content = JSON.stringify({ version: 1, ...login, accessToken, refreshToken, obtainedAt, expiresAt });
    const temporary = `${this.#path}.${randomUUID()}`;
    try {
      await writeFile(temporary, `${content}\n`, { mode: 0o600, flush: true });
      await rename(temporary, this.#path);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Only under {@link exclusively}. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  /**
   * Runs `work` while no other process of this user changes these tokens: a refresh token may be good for one use only.
   * The lock of a process that has died is taken over.
   */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const lock = `${this.#path}.lock`;
    await mkdir(this.directory, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
      throw this.#unusable(messageOf(cause), cause);
    });
    const options = { timeoutMs: LOCK_TIMEOUT_MS, intervalMs: 25 };
    const late = (cause: unknown): Error => this.#unusable(`another process holds ${lock}`, cause);
    const problem = await poll(() => locked(lock), options, late);
    if (problem !== null) throw this.#unusable(messageOf(problem), problem);
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  }

  #unusable(why: string, cause: unknown): SciStreamError {
    return new SciStreamError('SCI_LOGIN_FAILED', `Cannot store the login for ${this.login.facility}: ${why}.`, {
      cause,
      suggestions: [`Check the permissions of ${this.directory}.`],
    });
  }
}

/** @returns null when it is ours, undefined while it is somebody else's, or why it can be nobody's. */
async function locked(path: string): Promise<unknown> {
  try {
    await writeFile(path, JSON.stringify({ host: hostname(), pid: process.pid }), { flag: 'wx', mode: 0o600 });
    return null;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') return error;
    if (await isStale(path)) await takeAway(path);
    return undefined;
  }
}

/** Moved first and looked at again: somebody else may have been quicker, and this be the new lock. */
async function takeAway(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  await rename(path, aside);
  if (!(await isStale(aside))) await rename(aside, path);
  await rm(aside, { force: true });
}

async function isStale(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const age = Date.now() - (await stat(path)).mtimeMs;
  if (age > LOCK_STALE_MS) return true;
  const owner = LockSchema.safeParse(parseJson(text)).data;
  return owner !== undefined && owner.host === hostname() && !isRunning(owner.pid);
}

const LockSchema = z.object({ host: z.string(), pid: z.int().min(1) });

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
