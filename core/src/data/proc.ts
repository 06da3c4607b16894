import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { systemCode } from '../errors.js';

/** Tells one process from a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)). */
  readonly startTime: string;
}

/**
 * What a process that is gone cannot tell. Every other failure, such as a daemon that has no descriptor left, says nothing
 * about the process, and who takes that for its end kills what lives.
 */
const gone = (error: unknown): '' => {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ESRCH') return '';
  throw error;
};

/** As {@link gone}, for what only its own user may read: that of others is none of ours. */
const goneOrOthers = (error: unknown): '' => {
  const code = systemCode(error);
  return code === 'EACCES' || code === 'EPERM' ? '' : gone(error);
};

/** Whether there is a process of this pid that may be signalled. */
function isOurs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Fields of /proc/PID/stat from the third on (the state); none when there is no such process. */
async function statFields(pid: number): Promise<readonly string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch((error: unknown) => {
    // Where /proc is mounted with hidepid=1 this is how the processes of other users look (proc(5)).
    if (systemCode(error) === 'EPERM' && !isOurs(pid)) return '';
    return gone(error);
  });
  // The name in parentheses may itself contain spaces and parentheses, so fields count from the last ')'.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * Reads the identity of a process that lives. Undefined when there is none; a zombie lives as long as it has threads that
 * still end, for these hold its sockets.
 * @throws What the system says when it cannot be read, which does not say that there is none.
 */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const fields = await statFields(pid);
  const [state] = fields;
  const startTime = fields[19];
  const threads = Number(fields[17]);
  if (!startTime || state === 'X' || (state === 'Z' && threads <= 1)) return undefined;
  return { pid, startTime };
}

/** Whether exactly that process still lives. @throws as {@link identify} */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.startTime === identity.startTime;
}

/**
 * Pids of the living processes of an instance: they work in its `directory` and either belong to the session of its first
 * process or carry its name in their environment. That leaves an operator's shell alone that happens to look around
 * there, and finds what a first process left behind that ended long ago.
 * @param session Pid of the first process, where it is known.
 * @throws as {@link identify}
 */
export async function processesOf(directory: string, name: string, session?: number): Promise<readonly number[]> {
  // The kernel tells the path without symbolic links; a directory that is gone has nobody in it.
  const real = (await realpath(directory).catch(gone)) || directory;
  const pids = (await workers()).get(real) ?? [];
  const found = await Promise.all(
    pids.map(async (pid) => {
      if ((await sessionOf(pid)) === session) return true;
      const environment = await environmentOf(pid);
      if (environment.includes(`${INSTANCE}=${name}`)) return true;
      // One that is just ending has lost its memory, with its environment, and still holds all else.
      return environment.join('') === '' && (await directoryOf(pid)) === real;
    }),
  );
  return pids.filter((_, i) => found[i]);
}

type Workers = ReadonlyMap<string, readonly number[]>;

let reading: Promise<unknown> = Promise.resolve();
let next: Promise<Workers> | undefined;

/**
 * Who works in which directory. Whoever asks while this is read gets what is read afterwards, all of them the same: when
 * hundreds of instances end at once, each would otherwise look at all processes of the machine.
 */
function workers(): Promise<Workers> {
  next ??= reading.then(() => {
    next = undefined;
    const now = readWorkers();
    reading = now.catch(() => undefined);
    return now;
  });
  return next;
}

async function readWorkers(): Promise<Workers> {
  const found = new Map<string, number[]>();
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  await Promise.all(
    pids.map(async (pid) => {
      // A zombie has no working directory any more; other users' processes cannot be read and are not ours.
      const directory = await directoryOf(pid);
      found.set(directory, [...(found.get(directory) ?? []), pid]);
    }),
  );
  return found;
}

/** Variable that names the instance a process belongs to. */
export const INSTANCE = 'SCISTREAM_INSTANCE';

/** Empty where it cannot be read, or there is no such process. */
const directoryOf = (pid: number): Promise<string> => readlink(`/proc/${pid}/cwd`).catch(goneOrOthers);

async function sessionOf(pid: number): Promise<number> {
  return Number((await statFields(pid))[3]);
}

async function environmentOf(pid: number): Promise<readonly string[]> {
  return (await readFile(`/proc/${pid}/environ`, 'utf8').catch(goneOrOthers)).split('\0');
}
