import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { z } from 'zod';
import type {
  ContainerRef,
  ContainerRuntime,
  ContainerSpec,
  ContainerState,
  ExecResult,
  InstanceFiles,
} from '../contracts/container-runtime.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import { readTail, writeAtomically } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { runtimeProvider } from '../contracts/plugin.js';
import { identify, isAlive, type ProcessIdentity } from '../contracts/process-identity.js';
import { poll, retry } from '../contracts/wait.js';
import { ended, environment, hasEnded, kill } from './child.js';
import { InstanceDirectories } from './directories.js';
import { executableError, failed } from './failures.js';
import { INSTANCE, processesOf } from './proc.js';
import { ProcessWatch } from './watch.js';

const LOG = 'log';
const LOG_TAIL_BYTES = 16 * 1024;
const KILL_TIMEOUT_MS = 5_000;
/** The longest wait for the exit event of a dead child, ms. */
const EXIT_TIMEOUT_MS = 5_000;
/** Pause before an instance is inspected again after a failure, ms. */
const RETRY_MS = 500;

/**
 * Runs instances as detached local processes, each with its own session, directory (0700) and log file. So they outlive
 * this process and never write into a pipe without a reader. A process is identified by pid *and* start time, never by
 * pid only.
 */
export class ProcessRuntime implements ContainerRuntime {
  readonly id = 'process';
  readonly supports = { inheritSockets: true, dial: true, images: false, hostNetwork: true };
  readonly #directories: InstanceDirectories;
  readonly #log: Logger;
  readonly #watch = new ProcessWatch();
  readonly #children = new Map<string, ChildProcess>();
  /** Settles when the abandoned directories of earlier processes are removed. */
  #cleared: Promise<void> | undefined;

  constructor({ directory, log }: { readonly directory: string; readonly log: Logger }) {
    this.#directories = new InstanceDirectories(directory, log);
    this.#log = log;
  }

  async ping(): Promise<void> {
    await this.#directories.open();
    await (this.#cleared ??= this.#directories.removeAbandoned());
  }

  async create(spec: ContainerSpec): Promise<ContainerRef> {
    await this.ping();
    const ref = { name: spec.name };
    await this.#directories.make(ref);
    try {
      // The record first: if this process dies now, the next process finds the instance by its record.
      await this.#directories.write(ref, { labels: spec.labels, stopSignal: spec.stopSignal });
      await this.putFiles(ref, spec.files);
    } catch (error) {
      // The directory keeps its record until everything else is removed, so that a later call can remove the rest.
      await this.remove(ref).catch((failure: unknown) => {
        this.#log.error({ instance: ref.name, error: messageOf(failure) }, 'instance not removed');
      });
      throw error;
    }
    return ref;
  }

  async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    if ((await this.inspect(ref)).status === 'running') return;
    const log = await open(this.#path(ref, LOG), 'a', 0o600).catch((error: unknown) => {
      throw failed(`Cannot open ${this.#path(ref, LOG)}`, error, this.#path(ref));
    });
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
        // Without its identity, no later process would find it.
        child.kill('SIGKILL');
        throw failed(`Cannot identify the process of ${ref.name}`, error);
      });
      // A process that has ended already has no start time. It was started nevertheless.
      const process = found ?? { pid, startTime: '' };
      await this.#directories.write(ref, { labels: spec.labels, stopSignal: spec.stopSignal, process });
      this.#log.debug({ instance: ref.name, pid, executable: spec.executable }, 'instance started');
    } finally {
      await log.close();
    }
  }

  async stop(ref: ContainerRef, graceMs: number): Promise<void> {
    const record = await this.#directories.read(ref);
    if (!record) return;
    if (record.process) await this.#terminate(ref, record.process, record.stopSignal, graceMs);
    // Also without a recorded process: the daemon may have died between the start and the record.
    await this.#killAll(ref, record.process);
    await this.#exitOf(ref);
  }

  async remove(ref: ContainerRef): Promise<void> {
    this.#children.delete(ref.name);
    await this.#directories.remove(ref);
  }

  async inspect(ref: ContainerRef): Promise<ContainerState> {
    const record = await this.#directories.read(ref);
    if (!record) return { ...ref, status: 'absent', labels: {} };
    const { labels, process } = record;
    if (!process) return { ...ref, status: 'created', labels };
    if (await this.#lives(ref, process)) return { ...ref, status: 'running', labels, pid: process.pid };
    const exit = await this.#exitOf(ref);
    return { ...ref, status: 'exited', labels, ...(exit === undefined ? {} : { exit }) };
  }

  async list(labels: ContainerSpec['labels']): Promise<readonly ContainerState[]> {
    const names = await this.#directories.names();
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
      // By this name, `stop` finds the processes that a command left behind when it timed out.
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
          throw failed(`Cannot write ${this.#path(ref, name)}`, error, this.#path(ref));
        }),
      ),
    );
  }

  async signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    const record = await this.#directories.read(ref);
    if (!record?.process || !(await this.#lives(ref, record.process))) {
      throw new S2DSException('SCI_PROXY_DIED', `Cannot send ${signal}: ${ref.name} does not run.`);
    }
    process.kill(record.process.pid, signal);
  }

  async dial(ref: ContainerRef, socketName: string): Promise<Socket> {
    // sun_path holds 107 bytes (unix(7)) and a state directory may be deep. A path through the descriptor is short.
    const directory = await open(this.#path(ref), 'r');
    try {
      const socket = connect(`/proc/self/fd/${directory.fd}/${socketName}`);
      await once(socket, 'connect');
      // If the program dies before the caller adds a handler, the error must not end this process.
      socket.on('error', () => socket.destroy());
      return socket;
    } finally {
      await directory.close();
    }
  }

  async exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    const end = async (): Promise<ContainerState> => {
      const child = this.#children.get(ref.name);
      await (child ? ended(child, signal) : this.#gone(ref, signal));
      signal.throwIfAborted();
      const state = await this.inspect(ref);
      if (state.status === 'running') throw new Error('still running');
      return state;
    };
    const pauseMs = (error: unknown): number => {
      this.#log.debug({ instance: ref.name, error: messageOf(error) }, 'end of instance not confirmed; retrying');
      return RETRY_MS;
    };
    return await retry(end, { pauseMs, signal });
  }

  /** @throws SCI_RUNTIME_FAILED when /proc cannot be read */
  #lives({ name }: ContainerRef, process: ProcessIdentity): Promise<boolean> {
    return isAlive(process).catch((error: unknown) => {
      throw failed(`Cannot inspect the process of ${name}`, error);
    });
  }

  /** Sends `signal` and waits for the end of the process, at most `graceMs`. */
  async #terminate(
    ref: ContainerRef,
    process: ProcessIdentity,
    signal: NodeJS.Signals,
    graceMs: number,
  ): Promise<void> {
    const gone = async (): Promise<true | undefined> => ((await this.#lives(ref, process)) ? undefined : true);
    if (await gone()) return;
    kill(process.pid, signal);
    await poll(gone, { timeoutMs: graceMs, intervalMs: 5 }, () => new Error('still running')).catch(() => {
      this.#log.warn({ instance: ref.name, signal, graceMs }, 'instance did not end in time; killing it');
    });
  }

  /** Kills every process that works in the instance's directory, including children that the program left behind. */
  async #killAll(ref: ContainerRef, first: ProcessIdentity | undefined): Promise<void> {
    const none = async (): Promise<true | undefined> => {
      const pids = await processesOf(this.#path(ref), ref.name, first?.pid);
      for (const pid of pids) kill(pid, 'SIGKILL');
      return (pids.length === 0 && !(first && (await isAlive(first)))) || undefined;
    };
    await poll(none, { timeoutMs: KILL_TIMEOUT_MS, intervalMs: 5 }, (cause) =>
      failed(`A process of ${ref.name} cannot be killed`, cause),
    );
  }

  /** How a dead child of this process ended; undefined for the child of an earlier process. */
  async #exitOf({ name }: ContainerRef): Promise<string | undefined> {
    const child = this.#children.get(name);
    if (!child) return undefined;
    // The exit event may be pending. While this process stops, nothing else may keep it alive until the event comes.
    child.ref();
    await ended(child, AbortSignal.timeout(EXIT_TIMEOUT_MS));
    if (!hasEnded(child)) return void child.unref();
    return child.signalCode ? `signal ${child.signalCode}` : `exit code ${child.exitCode}`;
  }

  /** Waits for the end of a process that an earlier daemon started. */
  async #gone(ref: ContainerRef, signal: AbortSignal): Promise<void> {
    const process = (await this.#directories.read(ref))?.process;
    if (process) await this.#watch.ended(process, signal);
  }

  #path(ref: ContainerRef, file?: string): string {
    return this.#directories.path(ref, file);
  }
}

/** The built-in runtime `process`. */
export const processRuntimeProvider = runtimeProvider({
  id: 'process',
  options: z.strictObject({}),
  create: ({ dataDir, log }) => new ProcessRuntime({ directory: dataDir, log }),
});
