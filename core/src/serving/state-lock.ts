import { randomUUID } from 'node:crypto';
import { link, readFile, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../contracts/files.js';
import { identify, isAlive, type ProcessIdentity } from '../contracts/process-identity.js';
import { adviceFor, systemReason } from '../contracts/system-errors.js';

/** Interval at which a daemon sets the time of its lock, ms. */
const BEAT_MS = 1_000;
/** Age from which a lock of another PID namespace is stale, ms. */
const SILENT_MS = 5_000;

/** The content of a lock. Earlier versions stored the process only. */
interface Lock extends Partial<ProcessIdentity> {
  /** Name of the host that the directory belongs to. */
  readonly host?: string;
  /** Changes with each boot of the host. */
  readonly boot?: string;
  /** PID namespace of the process. Another container on the same host has another one. */
  readonly namespace?: string;
}

/**
 * Unlocks a state directory. Idempotent.
 * @param keepHost Whether streams keep running: the directory then still belongs to this host, and the lock says so.
 */
export type Unlock = (keepHost: boolean) => Promise<void>;

/**
 * Creates the state directory (0700) and locks it for this process. A stale lock of a dead process of this host is
 * replaced, a lock of another host never: its streams may run. Of several processes that try at the same time, one
 * succeeds.
 * @throws SCI_STATE_LOCKED while another daemon or host uses the directory; SCI_CONFIG_INVALID when it is not usable
 */
export async function lockState(directory: string): Promise<Unlock> {
  const path = join(directory, 'lock');
  // The file is linked into place when it is complete, so that no process reads a partial lock.
  const own = `${path}.${randomUUID()}`;
  const here = await thisHost();
  try {
    await makeDirectory(directory);
    const content: Lock = { ...(await identify(process.pid)), ...here };
    await writeFile(own, JSON.stringify(content), { flag: 'wx', mode: 0o600 });
    try {
      while (!(await linked(own, path))) await removeIfStale(directory, path, own, here);
    } finally {
      await rm(own, { force: true });
    }
  } catch (error) {
    if (SciStreamError.is(error)) throw error;
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: ${directory} is not usable: ${systemReason(error)}.`, {
      cause: error,
      suggestions: ['Set the key state (or --state) to a writable directory.', adviceFor(directory, error)],
    });
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => undefined), BEAT_MS).unref();
  let released: Promise<void> | undefined;
  return (keepHost) => {
    clearInterval(beat);
    const { host, boot } = here;
    const unlock = keepHost ? writeAtomically(path, JSON.stringify({ host, boot })) : rm(path, { force: true });
    // A lock that stays is stale, because its process ends.
    return (released ??= unlock.catch(() => undefined));
  };
}

/** Removes a stale lock. A second lock file serialises this, and its holder checks the first one again. */
async function removeIfStale(directory: string, path: string, own: string, here: Lock): Promise<void> {
  const holder = await holderOf(path, here);
  if (holder && holder !== 'dead') throw inUse(directory, path, holder, here);
  const guard = `${path}.takeover`;
  if (!(await linked(own, guard))) {
    if ((await holderOf(guard, here)) === 'dead') await rm(guard, { force: true });
    return;
  }
  try {
    if ((await holderOf(path, here)) === 'dead') await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

function inUse(directory: string, path: string, { host, pid, namespace }: Lock, here: Lock): SciStreamError {
  const other = 'Stop that process, or use another directory: --state DIR';
  if (host !== undefined && host !== here.host) {
    return new SciStreamError('SCI_STATE_LOCKED', `The state directory ${directory} belongs to host ${host}.`, {
      suggestions: [
        `Use another directory on this host: --state DIR`,
        `If ${host} no longer exists, or this host had that name, its streams are lost. Then: rm ${path}`,
      ],
    });
  }
  const where = namespace === here.namespace ? '' : ' in another container or PID namespace of this host';
  return new SciStreamError(
    'SCI_STATE_LOCKED',
    `Process ${pid}${where} already uses the state directory ${directory}.`,
    {
      suggestions: [other],
    },
  );
}

/** Links a file to a second name, atomically. @returns False if that name exists. */
async function linked(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The holder of a lock; undefined without a lock, `dead` when its process has ended or the file is invalid. */
async function holderOf(path: string, here: Lock): Promise<Lock | 'dead' | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const lock = parse(text);
  if (!lock) return 'dead';
  if (lock.host !== undefined && lock.host !== here.host) return lock;
  const { pid, startTime } = lock;
  // Another boot of this host, or a daemon that has stopped while its streams keep running.
  if ((lock.boot ?? here.boot) !== here.boot || pid === undefined || startTime === undefined) return 'dead';
  const alive = (lock.namespace ?? here.namespace) === here.namespace ? isAlive({ pid, startTime }) : beats(path);
  return (await alive) ? lock : 'dead';
}

/** Whether the holder of a lock still sets its time. The processes of another PID namespace are not visible. */
async function beats(path: string): Promise<boolean> {
  const time = async (): Promise<number> => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
  const before = await time();
  for (let waited = 0; waited < SILENT_MS; waited += BEAT_MS) {
    await sleep(BEAT_MS);
    if ((await time()) !== before) return true;
  }
  return false;
}

async function thisHost(): Promise<Required<Pick<Lock, 'host' | 'boot' | 'namespace'>>> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return { host: hostname(), boot: boot.trim(), namespace: await readlink('/proc/self/ns/pid').catch(() => '') };
}

function parse(text: string): Lock | undefined {
  try {
    const { pid, startTime, host, boot, namespace } = JSON.parse(text) as Record<string, unknown>;
    return {
      ...(typeof pid === 'number' && { pid }),
      ...(typeof startTime === 'string' && { startTime }),
      ...(typeof host === 'string' && { host }),
      ...(typeof boot === 'string' && { boot }),
      ...(typeof namespace === 'string' && { namespace }),
    };
  } catch {
    return undefined;
  }
}
