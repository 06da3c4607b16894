import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type {
  ContainerRef,
  ContainerRuntime,
  ContainerSpec,
  ContainerState,
  ExecResult,
  InstanceFiles,
} from '../contracts/container-runtime.js';
import { messageOf, S2DSException, systemCode } from '../contracts/errors.js';
import { makeDirectory, readTail, writeAtomically } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { runtimeProvider } from '../contracts/plugin.js';
import { identify, isAlive, type ProcessIdentity } from '../contracts/process-identity.js';
import { poll } from '../contracts/wait.js';
import { ended, environment, hasEnded, kill } from './child.js';
import { executableError, failed } from './failures.js';
import { INSTANCE, processesOf } from './proc.js';
import { ProcessWatch } from './watch.js';

const LOG = 'log';
const NAME = /^[\w-]+$/;
/** Of a stream; whatever else lies in the directory is somebody's. */
const INSTANCE_NAME = /^scistream-[\w-]+-[0-9a-f]{8}-\d+$/;
const RECORD = '.instance.json';
const LOG_TAIL_BYTES = 16 * 1024;
const KILL_TIMEOUT_MS = 5_000;
/** How long the event may be on its way that tells how a dead child ended, ms. */
const EXIT_TIMEOUT_MS = 5_000;
/** Before an instance is watched again that could not be looked at, ms. */
const RETRY_MS = 500;
interface Record {
  readonly labels: ContainerSpec['labels'];
  readonly stopSignal: NodeJS.Signals;
  readonly process?: ProcessIdentity;
}

/**
 * Runs instances as local processes: detached, each with a session, a directory (0700) and a log file of its own, so that
 * they outlive this process and never write into a pipe that nobody reads. What runs is found again by pid *and* start
 * time, never by pid alone.
 */
export class ProcessRuntime implements ContainerRuntime {
  readonly id = 'process';
  readonly supports = { inheritSockets: true, dial: true, images: false, hostNetwork: true };
  readonly #directory: string;
  readonly #log: Logger;
  readonly #watch = new ProcessWatch();
  readonly #children = new Map<string, ChildProcess>();
  /** Settles when what earlier processes have left of instances is gone. */
  #cleared: Promise<void> | undefined;

  constructor(options: { readonly directory: string; readonly log: Logger }) {
    this.#directory = options.directory;
    this.#log = options.log;
  }

  async ping(): Promise<void> {
    await makeDirectory(this.#directory).catch((error: unknown) => {
      throw new S2DSException('SCI_RUNTIME_UNREACHABLE', `Cannot write to ${this.#directory}: ${messageOf(error)}`, {
        cause: error,
        suggestions: ['Set the key state to a directory that the daemon may write to.'],
      });
    });
    await (this.#cleared ??= this.#clear());
  }

  async create(spec: ContainerSpec): Promise<ContainerRef> {
    await this.ping();
    const ref = { name: spec.name };
    await this.#makeDirectory(ref);
    try {
      // The record first: should this process die now, the next one finds the instance by it.
      await this.#writeRecord(ref, { labels: spec.labels, stopSignal: spec.stopSignal });
      await this.putFiles(ref, spec.files);
    } catch (error) {
      await this.remove(ref);
      throw error;
    }
    return ref;
  }

  async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    if ((await this.inspect(ref)).status === 'running') return;
    const log = await open(this.#path(ref, LOG), 'a', 0o600);
    try {
      const child = spawn(spec.executable, spec.args, {
        cwd: this.#path(ref),
        detached: true,
        env: { ...environment(), [INSTANCE]: ref.name },
        stdio: ['ignore', log.fd, log.fd, ...spec.sockets],
      });
      await once(child, 'spawn').catch((error: unknown) => {
        throw executableError(spec.executable, error);
      });
      child.unref();
      this.#children.set(ref.name, child);
      const { pid = 0 } = child;
      const found = await identify(pid).catch((error: unknown) => {
        // Nobody would ever find it again.
        child.kill('SIGKILL');
        throw failed(`Cannot look at the process of ${ref.name}`, error);
      });
      // One that has ended already has no start time any more, but it was started.
      const process = found ?? { pid, startTime: '' };
      await this.#writeRecord(ref, { labels: spec.labels, stopSignal: spec.stopSignal, process });
      this.#log.debug({ instance: ref.name, pid, executable: spec.executable }, 'instance started');
    } finally {
      await log.close();
    }
  }

  async stop(ref: ContainerRef, graceMs: number): Promise<void> {
    const record = await this.#readRecord(ref);
    if (!record) return;
    if (record.process) await this.#ask(ref, record.process, record.stopSignal, graceMs);
    // Also without a known process: it may have been started just before this could be written down.
    await this.#killAll(ref, record.process);
    await this.#howItEnded(ref);
  }

  async remove(ref: ContainerRef): Promise<void> {
    this.#children.delete(ref.name);
    const directory = this.#path(ref);
    try {
      // The record last: should this process die now, the next one finds by it what is left, keys among them.
      const files = (await namesIn(directory)).filter((name) => name !== RECORD);
      await Promise.all(files.map((name) => rm(join(directory, name), { recursive: true, force: true })));
      await rm(directory, { recursive: true, force: true });
    } catch (error) {
      throw failed(`Cannot remove the directory of ${ref.name}`, error);
    }
  }

  async inspect(ref: ContainerRef): Promise<ContainerState> {
    const record = await this.#readRecord(ref);
    if (!record) return { ...ref, status: 'absent', labels: {} };
    const { labels, process } = record;
    if (!process) return { ...ref, status: 'created', labels };
    if (await this.#lives(ref, process)) return { ...ref, status: 'running', labels, pid: process.pid };
    const exit = await this.#howItEnded(ref);
    return { ...ref, status: 'exited', labels, ...(exit === undefined ? {} : { exit }) };
  }

  async list(labels: ContainerSpec['labels']): Promise<readonly ContainerState[]> {
    const entries = await namesIn(this.#directory).catch((error: unknown) => {
      throw failed(`Cannot list ${this.#directory}`, error);
    });
    // Something else may lie there, such as lost+found.
    const names = entries.filter((name) => NAME.test(name));
    const states = await Promise.all(names.map((name) => this.inspect({ name })));
    return states.filter((state) => Object.entries(labels).every(([key, value]) => state.labels[key] === value));
  }

  async logs(ref: ContainerRef, lines: number): Promise<string> {
    const text = await readTail(this.#path(ref, LOG), LOG_TAIL_BYTES).catch(() => '');
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  }

  exec(ref: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const [executable = '', ...args] = command;
    const options = {
      cwd: this.#path(ref),
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      // By the name `stop` finds what a command that was given up has left behind.
      env: { ...environment(), [INSTANCE]: ref.name },
      maxBuffer: 1024 * 1024,
    } as const;
    return new Promise((resolve, reject) => {
      execFile(executable, args, options, (error, stdout, stderr) => {
        if (!error) resolve({ exitCode: 0, stdout, stderr });
        else if (typeof error.code === 'number') resolve({ exitCode: error.code, stdout, stderr });
        else reject(executableError(executable, error));
      });
    });
  }

  async putFiles(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    await Promise.all(
      Object.entries(files).map(([name, content]) =>
        writeAtomically(this.#path(ref, name), content).catch((error: unknown) => {
          throw failed(`Cannot write ${name} of ${ref.name}`, error);
        }),
      ),
    );
  }

  async signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    const record = await this.#readRecord(ref);
    if (!record?.process || !(await this.#lives(ref, record.process))) {
      throw new S2DSException('SCI_PROXY_DIED', `${ref.name} does not run, so ${signal} cannot reach it.`);
    }
    process.kill(record.process.pid, signal);
  }

  async dial(ref: ContainerRef, socketName: string): Promise<Socket> {
    // sun_path holds 107 bytes (unix(7)) and a state directory may be deep; through the descriptor any path is short.
    const directory = await open(this.#path(ref), 'r');
    try {
      const socket = connect(`/proc/self/fd/${directory.fd}/${socketName}`);
      await once(socket, 'connect');
      // Who asked does not listen yet, and a program that dies right now must not take this process with it.
      socket.on('error', () => socket.destroy());
      return socket;
    } finally {
      await directory.close();
    }
  }

  async exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    for (;;) {
      try {
        const child = this.#children.get(ref.name);
        await (child ? ended(child, signal) : this.#gone(ref, signal));
        signal.throwIfAborted();
        const state = await this.inspect(ref);
        if (state.status !== 'running') return state;
      } catch (error) {
        signal.throwIfAborted();
        this.#log.debug({ instance: ref.name, error: messageOf(error) }, 'cannot look at an instance, trying again');
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  /** @throws SCI_RUNTIME_FAILED when the system does not tell */
  #lives({ name }: ContainerRef, process: ProcessIdentity): Promise<boolean> {
    return isAlive(process).catch((error: unknown) => {
      throw failed(`Cannot look at the process of ${name}`, error);
    });
  }

  /** @throws SCI_CONTAINER_CONFLICT */
  async #makeDirectory(ref: ContainerRef): Promise<void> {
    const make = (): Promise<void> => mkdir(this.#path(ref), { mode: 0o700 });
    try {
      await make().catch(async (error: unknown) => {
        if (systemCode(error) !== 'EEXIST' || !(await this.#isAbandoned(ref))) throw error;
        await this.remove(ref);
        await make();
      });
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw failed(`Cannot make the directory of ${ref.name}`, error);
      throw new S2DSException(
        'SCI_CONTAINER_CONFLICT',
        `An instance ${ref.name} exists already in ${this.#directory}.`,
        {
          suggestions: ['Release the stream it belongs to, or restart the daemon, which removes what nobody owns.'],
        },
      );
    }
  }

  /** Whether a directory has neither a record nor a process: what is left of a daemon that was killed as it made or removed it. */
  async #isAbandoned(ref: ContainerRef): Promise<boolean> {
    return !(await this.#readRecord(ref)) && (await processesOf(this.#path(ref), ref.name)).length === 0;
  }

  /** Removes what `list` does not find. Never rejects. */
  async #clear(): Promise<void> {
    const names = await namesIn(this.#directory).catch(() => []);
    for (const name of names.filter((each) => INSTANCE_NAME.test(each))) {
      try {
        if (!(await this.#isAbandoned({ name }))) continue;
        this.#log.warn({ instance: name }, 'removing what is left of an instance');
        await this.remove({ name });
      } catch (error) {
        this.#log.error({ instance: name, error: messageOf(error) }, 'what is left of an instance cannot be removed');
      }
    }
  }

  /** Asks a process to end and waits for that, at most `graceMs`. */
  async #ask(ref: ContainerRef, process: ProcessIdentity, signal: NodeJS.Signals, graceMs: number): Promise<void> {
    const gone = async (): Promise<true | undefined> => ((await this.#lives(ref, process)) ? undefined : true);
    if (await gone()) return;
    kill(process.pid, signal);
    await poll(gone, { timeoutMs: graceMs, intervalMs: 5 }, () => new Error('still running')).catch(() => {
      this.#log.warn({ instance: ref.name, graceMs }, 'instance did not end when asked, killing it');
    });
  }

  /** Of a child of ours that is dead; the event that tells may still be on its way. */
  async #howItEnded({ name }: ContainerRef): Promise<string | undefined> {
    const child = this.#children.get(name);
    if (!child) return undefined;
    // Nothing else may keep this process alive while it stops, and then it would end here, halfway.
    child.ref();
    await ended(child, AbortSignal.timeout(EXIT_TIMEOUT_MS));
    if (!hasEnded(child)) return void child.unref();
    return child.signalCode ? `signal ${child.signalCode}` : `exit code ${child.exitCode}`;
  }

  /** Ends whatever still works in the instance's directory: a program that does not end, or children it left behind. */
  async #killAll(ref: ContainerRef, first: ProcessIdentity | undefined): Promise<void> {
    const none = async (): Promise<true | undefined> => {
      const pids = await processesOf(this.#path(ref), ref.name, first?.pid);
      for (const pid of pids) kill(pid, 'SIGKILL');
      return (pids.length === 0 && !(first && (await isAlive(first)))) || undefined;
    };
    await poll(none, { timeoutMs: KILL_TIMEOUT_MS, intervalMs: 5 }, (cause) =>
      failed(`Some process of ${ref.name} cannot be killed`, cause),
    );
  }

  /** For a process that is not our child. */
  async #gone(ref: ContainerRef, signal: AbortSignal): Promise<void> {
    const process = (await this.#readRecord(ref))?.process;
    if (process) await this.#watch.ended(process, signal);
  }

  #path(ref: ContainerRef, file = '.'): string {
    if (!NAME.test(ref.name) || !/^[\w.-]+$/.test(file))
      throw failed(`${ref.name}/${file} is no name of an instance or file`);
    return join(this.#directory, ref.name, file);
  }

  async #readRecord(ref: ContainerRef): Promise<Record | undefined> {
    try {
      return JSON.parse(await readFile(this.#path(ref, RECORD), 'utf8')) as Record;
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
      if (error instanceof SyntaxError) {
        this.#log.warn({ instance: ref.name }, 'record cannot be read; remove the directory of the instance by hand');
        return undefined;
      }
      throw failed(`Cannot read the record of ${ref.name}`, error);
    }
  }

  #writeRecord(ref: ContainerRef, record: Record): Promise<void> {
    return writeAtomically(this.#path(ref, RECORD), JSON.stringify(record)).catch((error: unknown) => {
      throw failed(`Cannot write the record of ${ref.name}`, error);
    });
  }
}

/** Names in a directory; none when it does not exist. */
async function namesIn(directory: string): Promise<string[]> {
  return await readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
}

/** The process runtime as a provider, registered by the server itself. */
export const processRuntimeProvider = runtimeProvider({
  id: 'process',
  options: z.strictObject({}),
  create: ({ dataDir, log }) => new ProcessRuntime({ directory: dataDir, log }),
});
