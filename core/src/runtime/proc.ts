import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { systemCode } from '../contracts/errors.js';
import { gone, statFields } from '../contracts/process-identity.js';

/** As {@link gone}, for what only its own user may read: that of others is none of ours. */
const goneOrOthers = (error: unknown): '' => {
  const code = systemCode(error);
  return code === 'EACCES' || code === 'EPERM' ? '' : gone(error);
};

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
