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
/** Age from which a lock is stale if its process is not visible from here, ms. */
const SILENT_MS = 5_000;

/** The content of a lock: without a process after its daemon has stopped. Earlier versions stored the process only. */
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
  const content = JSON.stringify({ ...(await identify(process.pid)), ...here } satisfies Lock);
  try {
    await makeDirectory(directory);
    await writeFile(own, content, { flag: 'wx', mode: 0o600 });
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
  const unlock = async (keepHost: boolean): Promise<void> => {
    clearInterval(beat);
    // An operator or another host may have replaced the lock.
    if ((await readFile(path, 'utf8')) !== content) return;
    await (keepHost ? writeAtomically(path, JSON.stringify(here)) : rm(path, { force: true }));
  };
  // A lock that stays is stale, because its process ends.
  return (keepHost) => (released ??= unlock(keepHost).catch(() => undefined));
}

/** Removes a stale lock. A second lock file serialises this, and its holder removes only the file that was checked. */
async function removeIfStale(directory: string, path: string, own: string, here: Lock): Promise<void> {
  const checked = await versionOf(path);
  const holder = await holderOf(path, here);
  if (!holder) return;
  if (holder !== 'dead') throw inUse(directory, path, holder, here);
  const guard = `${path}.takeover`;
  if (!(await linked(own, guard))) {
    if ((await holderOf(guard, here)) === 'dead') await rm(guard, { force: true });
    return;
  }
  try {
    if (checked && checked === (await versionOf(path))) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

function inUse(directory: string, path: string, lock: Lock, here: Lock): SciStreamError {
  const { host, boot = here.boot, pid, namespace } = lock;
  const other = 'Stop that process. To run a second daemon, give it another directory: --state DIR';
  if (isElsewhere(lock, here)) {
    return new SciStreamError('SCI_STATE_LOCKED', `The state directory ${directory} belongs to host ${host}.`, {
      suggestions: [
        `Use another directory on this host: --state DIR`,
        `If ${host} no longer exists, or is an earlier name of this host, its streams have ended. Then: rm ${path}`,
      ],
    });
  }
  const container = namespace === here.namespace ? '' : ' in another container or PID namespace of this host';
  const where = boot === here.boot ? container : ` on another machine with the host name ${host}`;
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
  if (isElsewhere(lock, here)) return lock;
  const { pid, startTime } = lock;
  // A daemon that has stopped while its streams keep running.
  if (pid === undefined || startTime === undefined) return 'dead';
  const { boot, namespace } = { ...here, ...lock };
  // Another boot is an earlier one of this host, or another machine that has the same name.
  const visible = boot === here.boot && namespace === here.namespace;
  return (await (visible ? isAlive({ pid, startTime }) : beats(path))) ? lock : 'dead';
}

/** Whether the lock belongs to another host. A host that was renamed is the same one: its processes are visible. */
function isElsewhere({ host, boot, namespace }: Lock, here: Lock): boolean {
  const same = boot !== '' && boot === here.boot && namespace !== '' && namespace === here.namespace;
  return host !== undefined && host !== here.host && !same;
}

/** Whether the holder of a lock still sets its time, if its process is not visible from here. */
async function beats(path: string): Promise<boolean> {
  const before = await versionOf(path);
  for (let waited = 0; waited < SILENT_MS; waited += BEAT_MS) {
    await sleep(BEAT_MS);
    const now = await versionOf(path);
    if (now !== before) return now !== undefined;
  }
  return false;
}

/** Changes when the file is replaced or its time is set. Undefined if it does not exist. */
async function versionOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found && `${found.ino} ${found.mtimeNs}`;
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
