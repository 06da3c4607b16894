import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { systemCode } from '../contracts/errors.js';
import { gone, statFields } from '../contracts/process-identity.js';

/** As {@link gone}, for entries that only the user of the process can read: processes of other users are not ours. */
const goneOrOthers = (error: unknown): '' => {
  const code = systemCode(error);
  return code === 'EACCES' || code === 'EPERM' ? '' : gone(error);
};

/**
 * Pids of the living processes of an instance. They work in its `directory`, and belong to the session of its first process
 * or have its name in their environment. This excludes the shell of an operator in the directory, and includes children
 * of a first process that has ended.
 * @param session Pid of the first process, if known.
 * @throws as {@link identify}
 */
export async function processesOf(directory: string, name: string, session?: number): Promise<readonly number[]> {
  // The kernel reports paths without symbolic links. A removed directory has no processes.
  const real = (await realpath(directory).catch(gone)) || directory;
  const pids = (await workers()).get(real) ?? [];
  const found = await Promise.all(
    pids.map(async (pid) => {
      if ((await sessionOf(pid)) === session) return true;
      const environment = await environmentOf(pid);
      if (environment.includes(`${INSTANCE}=${name}`)) return true;
      // A process that is ending has lost its environment, but still holds its descriptors.
      return environment.join('') === '' && (await directoryOf(pid)) === real;
    }),
  );
  return pids.filter((_, i) => found[i]);
}

type Workers = ReadonlyMap<string, readonly number[]>;

let reading: Promise<unknown> = Promise.resolve();
let next: Promise<Workers> | undefined;

/**
 * Pids by working directory. Calls during a scan share the result of the next scan: otherwise, when hundreds of instances
 * end at the same time, each would scan all processes of the machine.
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
      // A zombie has no working directory. Processes of other users cannot be read and are not ours.
      const directory = await directoryOf(pid);
      found.set(directory, [...(found.get(directory) ?? []), pid]);
    }),
  );
  return found;
}

/** The environment variable with the name of the instance. */
export const INSTANCE = 'SCISTREAM_INSTANCE';

/** Empty if the process does not exist or belongs to another user. */
const directoryOf = (pid: number): Promise<string> => readlink(`/proc/${pid}/cwd`).catch(goneOrOthers);

async function sessionOf(pid: number): Promise<number> {
  return Number((await statFields(pid))[3]);
}

async function environmentOf(pid: number): Promise<readonly string[]> {
  return (await readFile(`/proc/${pid}/environ`, 'utf8').catch(goneOrOthers)).split('\0');
}
