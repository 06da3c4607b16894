import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerRef, ContainerSpec } from '../contracts/container-runtime.js';
import { messageOf, S2DSException, systemCode } from '../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import type { ProcessIdentity } from '../contracts/process-identity.js';
import { failed } from './failures.js';
import { processesOf } from './proc.js';

const NAME = /^[\w-]+$/;
/** The name of an instance of a stream. Other entries of the directory are left alone. */
const INSTANCE_NAME = /^scistream-[\w-]+-[0-9a-f]{8}-\d+$/;
const RECORD = '.instance.json';

/** The stored record of an instance. */
export interface InstanceRecord {
  readonly labels: ContainerSpec['labels'];
  readonly stopSignal: NodeJS.Signals;
  /** The first process; absent before the start. */
  readonly process?: ProcessIdentity;
}

/** The directories of instances (0700), each with the record and the files of one instance. */
export class InstanceDirectories {
  constructor(
    private readonly directory: string,
    private readonly log: Logger,
  ) {}

  /** Creates the directory of all instances. @throws SCI_RUNTIME_UNREACHABLE */
  async open(): Promise<void> {
    await makeDirectory(this.directory).catch((error: unknown) => {
      throw new S2DSException('SCI_RUNTIME_UNREACHABLE', `Cannot write to ${this.directory}: ${messageOf(error)}`, {
        cause: error,
        suggestions: ['Set the key state to a directory that the daemon can write to.'],
      });
    });
  }

  /** The path of an instance or of one of its files. @throws SCI_RUNTIME_FAILED for a name that would leave the directory */
  path({ name }: ContainerRef, file = '.'): string {
    if (!NAME.test(name) || !/^[\w.-]+$/.test(file))
      throw failed(`${name}/${file} is not a valid name of an instance or file`);
    return join(this.directory, name, file);
  }

  /** @throws SCI_RUNTIME_FAILED */
  async names(): Promise<readonly string[]> {
    const names = await namesIn(this.directory).catch((error: unknown) => {
      throw failed(`Cannot list ${this.directory}`, error, this.directory);
    });
    // The directory may contain other entries, such as lost+found.
    return names.filter((name) => NAME.test(name));
  }

  /** Creates the directory of an instance, and replaces an abandoned one. @throws SCI_CONTAINER_CONFLICT, SCI_RUNTIME_FAILED */
  async make(ref: ContainerRef): Promise<void> {
    const make = (): Promise<void> => mkdir(this.path(ref), { mode: 0o700 });
    try {
      await make().catch(async (error: unknown) => {
        if (systemCode(error) !== 'EEXIST' || !(await this.#isAbandoned(ref))) throw error;
        await this.remove(ref);
        await make();
      });
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw failed(`Cannot create ${this.path(ref)}`, error, this.directory);
      throw new S2DSException('SCI_CONTAINER_CONFLICT', `Instance ${ref.name} exists already in ${this.directory}.`, {
        suggestions: ['Release its stream, or restart the daemon, which removes instances without a stream record.'],
      });
    }
  }

  /** Removes the directory of an instance. @throws SCI_RUNTIME_FAILED */
  async remove(ref: ContainerRef): Promise<void> {
    const directory = this.path(ref);
    try {
      // The record last: if this process dies in between, the next process finds the remaining files, keys among them.
      const files = (await namesIn(directory)).filter((name) => name !== RECORD);
      await Promise.all(files.map((name) => rm(join(directory, name), { recursive: true, force: true })));
      await rm(directory, { recursive: true, force: true });
    } catch (error) {
      throw failed(`Cannot remove ${directory}`, error, directory);
    }
  }

  /** Removes abandoned directories, which have no record and so are not among the instances. Never rejects. */
  async removeAbandoned(): Promise<void> {
    const names = await namesIn(this.directory).catch(() => []);
    for (const name of names.filter((each) => INSTANCE_NAME.test(each))) {
      try {
        if (!(await this.#isAbandoned({ name }))) continue;
        this.log.warn({ instance: name }, 'removing an abandoned directory');
        await this.remove({ name });
      } catch (error) {
        this.log.error({ instance: name, error: messageOf(error) }, 'abandoned directory not removed');
      }
    }
  }

  /** The record of an instance; undefined without one, or if it is damaged. @throws SCI_RUNTIME_FAILED */
  async read(ref: ContainerRef): Promise<InstanceRecord | undefined> {
    try {
      return JSON.parse(await readFile(this.path(ref, RECORD), 'utf8')) as InstanceRecord;
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
      if (error instanceof SyntaxError) {
        this.log.warn({ instance: ref.name }, 'record damaged; remove the directory of the instance manually');
        return undefined;
      }
      throw failed(`Cannot read ${this.path(ref, RECORD)}`, error, this.directory);
    }
  }

  /** @throws SCI_RUNTIME_FAILED */
  write(ref: ContainerRef, record: InstanceRecord): Promise<void> {
    return writeAtomically(this.path(ref, RECORD), JSON.stringify(record)).catch((error: unknown) => {
      throw failed(`Cannot write ${this.path(ref, RECORD)}`, error, this.directory);
    });
  }

  /** Whether a directory has neither a record nor a process: the daemon was killed while it created or removed it. */
  async #isAbandoned(ref: ContainerRef): Promise<boolean> {
    return !(await this.read(ref)) && (await processesOf(this.path(ref), ref.name)).length === 0;
  }
}

/** Names in a directory; empty when it does not exist. */
async function namesIn(directory: string): Promise<string[]> {
  return await readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
}
