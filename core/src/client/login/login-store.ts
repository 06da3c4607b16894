import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, SciStreamError, systemCode } from '../../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../../contracts/files.js';
import { weaknessOf } from '../../contracts/trust.js';
import { configHome } from '../../contracts/user-directories.js';
import { poll } from '../../contracts/wait.js';
import { loginRequired, LoginSchema, type ServerLogin } from './login.js';

/** Maximum wait for another process that renews the tokens, ms. */
const LOCK_TIMEOUT_MS = 100_000;
/** Age at which a lock is stale, ms: above the total timeout of the requests that are made under it. */
const LOCK_STALE_MS = 90_000;

const StoredSchema = LoginSchema.extend({
  version: z.literal(1),
  /** Absent in files of an earlier version. */
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

/** {@link StoredTokens} and their control server, if it is known. */
export type FoundTokens = StoredTokens & { readonly server?: string | undefined };

/** `logins` in the user's configuration directory. */
function loginDir(env: NodeJS.ProcessEnv = process.env): string {
  return join(configHome(env), 'logins');
}

/**
 * The tokens of one facility: a file (0600) in its own directory (0700). Several processes may use it at the same time.
 */
export class LoginStore {
  readonly #path: string;

  constructor(
    readonly login: ServerLogin,
    private readonly directory = loginDir(),
  ) {
    this.#path = join(directory, `${login.facility}.json`);
  }

  /**
   * Reads the tokens. They can belong to another control server than this login.
   * @returns undefined if no tokens are stored.
   * @throws SCI_LOGIN_REQUIRED when the tokens belong to another login than the configured one, or the file is damaged
   * or readable by other users
   */
  async read(): Promise<FoundTokens | undefined> {
    const { facility } = this.login;
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
      const weakness = weaknessOf(this.#path, { secret: 'user' });
      if (weakness) throw loginRequired(this.login, `${this.#path} is not used: ${weakness.why}.`);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      if (SciStreamError.is(error)) throw error;
      throw loginRequired(this.login, `The login for ${facility} is unreadable: ${messageOf(error)}.`, error);
    }
    const stored = StoredSchema.safeParse(parseJson(text)).data;
    if (!stored) throw loginRequired(this.login, `The login for ${facility} is damaged.`);
    const same = (['facility', 'issuer', 'client', 'scope', 'resource'] as const).every(
      (key) => stored[key] === this.login[key],
    );
    if (!same)
      throw loginRequired(
        this.login,
        `The login for ${facility} has another issuer, client, scope or resource than the configuration.`,
      );
    return stored;
  }

  /** Only under {@link exclusively}. */
  async write(tokens: StoredTokens): Promise<void> {
    const { accessToken, refreshToken, obtainedAt, expiresAt } = tokens;
    const { facility, issuer, client, scope, resource, server } = this.login;
    const login = { facility, issuer, client, scope, resource, server };
    const content = JSON.stringify({ version: 1, ...login, accessToken, refreshToken, obtainedAt, expiresAt });
    await writeAtomically(this.#path, `${content}\n`);
  }

  /** Only under {@link exclusively}. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  /**
   * Runs `work` while no other process of this user changes these tokens, because a refresh token may be valid only
   * once. A lock of a dead process is removed.
   */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const lock = `${this.#path}.lock`;
    await makeDirectory(this.directory).catch((cause: unknown) => {
      throw this.#unusable(messageOf(cause), cause);
    });
    const options = { timeoutMs: LOCK_TIMEOUT_MS, intervalMs: 25 };
    const late = (cause: unknown): Error => this.#unusable(`another process holds the lock ${lock}`, cause);
    const problem = await poll(() => locked(lock), options, late);
    if (problem !== null) throw this.#unusable(messageOf(problem), problem);
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  }

  #unusable(why: string, cause: unknown): SciStreamError {
    return new SciStreamError('SCI_LOGIN_FAILED', `The login for ${this.login.facility} cannot be stored: ${why}.`, {
      cause,
      suggestions: [`Check that you can write to ${this.directory}, and that its disk has space.`],
    });
  }
}

/**
 * @returns null when this process has the lock, undefined while another one has it, or the error of the file system.
 */
async function locked(path: string): Promise<unknown> {
  try {
    await writeFile(path, JSON.stringify({ host: hostname(), pid: process.pid }), { flag: 'wx', mode: 0o600 });
    return null;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') return error;
    if (await isStale(path)) await removeStale(path);
    return undefined;
  }
}

/** Removes a stale lock. It is renamed and checked again, because another process may have replaced it with its own. */
async function removeStale(path: string): Promise<void> {
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
