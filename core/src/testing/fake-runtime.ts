import { Duplex, PassThrough } from 'node:stream';
import type {
  ContainerRef,
  ContainerRuntime,
  ContainerSpec,
  ContainerState,
  ExecResult,
  InstanceFiles,
  RuntimeCapabilities,
} from '../contracts/container-runtime.js';
import { S2DSException, type ErrorCode } from '../contracts/errors.js';

const NAME = /^[\w-]+$/;
const FILE = /^[\w-][\w.-]*$/;

/** The interface of a {@link FakeProgram} to its instance. */
export interface FakeSelf {
  readonly name: string;
  readonly args: readonly string[];
  /** The current files of the instance. */
  files(): InstanceFiles;
  /** Writes a line to the log. */
  say(line: string): void;
  /** Handles a signal. Without a handler a signal ends the program; SIGKILL always does. */
  on(signal: NodeJS.Signals, handler: () => void): void;
  /** Serves a unix socket in the directory of the instance. */
  serve(socketName: string, connected: (socket: Duplex) => void): void;
  /** Ends the program. */
  exit(code: number): void;
}

/** A program. It runs when it is started, and ends by `self.exit`, by a signal, or never. */
export type FakeProgram = (self: FakeSelf) => void;

/** A command that `exec` runs; undefined means that it never ends. */
export type FakeCommand = (command: readonly string[], files: InstanceFiles) => Partial<ExecResult> | undefined;

/** The programs and commands of a {@link FakeRuntime}. */
export interface FakeMachine {
  /** Programs by `ContainerSpec.executable`. */
  readonly programs?: Readonly<Record<string, FakeProgram>>;
  /** Commands by their first word, including those of programs. */
  readonly commands?: Readonly<Record<string, FakeCommand>>;
  readonly supports?: Partial<RuntimeCapabilities>;
}

interface FakeInstance {
  readonly spec: ContainerSpec;
  files: InstanceFiles;
  log: string[];
  readonly handlers: Map<string, () => void>;
  readonly sockets: Map<string, (socket: Duplex) => void>;
  status: 'created' | 'running' | 'exited';
  exit?: string;
  readonly ended: Set<() => void>;
}

/**
 * A runtime in memory, whose programs are functions of the test. It shows in milliseconds, without processes, what a
 * proxy does with its instances. It is strict where a real runtime may be lenient: invalid calls throw
 * SCI_RUNTIME_FAILED.
 */
export class FakeRuntime implements ContainerRuntime {
  readonly id = 'fake';
  readonly supports: RuntimeCapabilities;
  /**
   * Calls that change something and commands, oldest first: `create a`, `exec a checker -c x`, `put a x`, `start a` …
   */
  readonly calls: string[] = [];
  readonly #instances: Map<string, FakeInstance>;

  constructor(
    private readonly machine: FakeMachine = {},
    /** Shares the instances of another object, as a restarted daemon does. */
    same?: FakeRuntime,
  ) {
    this.supports = { inheritSockets: false, dial: true, images: false, hostNetwork: true, ...machine.supports };
    this.#instances = same ? same.#instances : new Map<string, FakeInstance>();
  }

  /** Returns a second object for the same instances. */
  another(): FakeRuntime {
    return new FakeRuntime(this.machine, this);
  }

  /** Kills a program from outside. */
  kill({ name }: ContainerRef): void {
    const instance = this.#running(name);
    end(instance, 'signal SIGKILL');
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  async create(spec: ContainerSpec): Promise<ContainerRef> {
    const { name, files } = spec;
    this.#call('create', name);
    if (!NAME.test(name)) throw failed(`${name} is not a valid instance name`);
    if (this.#instances.has(name)) throw failed(`Instance ${name} already exists`, 'SCI_CONTAINER_CONFLICT');
    checkNames(files);
    this.#instances.set(name, {
      spec,
      files: { ...files },
      log: [],
      handlers: new Map(),
      sockets: new Map(),
      status: 'created',
      ended: new Set(),
    });
    return await Promise.resolve({ name });
  }

  async start({ name }: ContainerRef, { executable }: ContainerSpec): Promise<void> {
    this.#call('start', name, executable);
    const instance = this.#known(name);
    if (instance.status === 'running') return;
    const program = this.machine.programs?.[executable];
    if (!program) throw failed(`The program ${executable} is not installed`, 'SCI_EXECUTABLE_NOT_FOUND');
    instance.status = 'running';
    program(selfOf(instance));
    await Promise.resolve();
  }

  async stop({ name }: ContainerRef, graceMs: number): Promise<void> {
    this.#call('stop', name);
    const instance = this.#instances.get(name);
    if (instance?.status !== 'running') return;
    const settled = new Promise<void>((done) => instance.ended.add(done));
    const timer = setTimeout(() => end(instance, 'signal SIGKILL'), graceMs);
    deliver(instance, instance.spec.stopSignal);
    await settled.finally(() => clearTimeout(timer));
  }

  async remove({ name }: ContainerRef): Promise<void> {
    this.#call('remove', name);
    if (this.#instances.get(name)?.status === 'running') throw failed(`${name} still runs`);
    this.#instances.delete(name);
    await Promise.resolve();
  }

  async inspect({ name }: ContainerRef): Promise<ContainerState> {
    return await Promise.resolve(stateOf(name, this.#instances.get(name)));
  }

  async list(labels: ContainerSpec['labels']): Promise<readonly ContainerState[]> {
    const states = [...this.#instances].map(([name, instance]) => stateOf(name, instance));
    return await Promise.resolve(
      states.filter((state) => Object.entries(labels).every(([key, value]) => state.labels[key] === value)),
    );
  }

  async logs({ name }: ContainerRef, lines: number): Promise<string> {
    return await Promise.resolve(this.#known(name).log.slice(-lines).join('\n'));
  }

  async exec({ name }: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    this.#call('exec', name, ...command);
    const [executable = ''] = command;
    const run = this.machine.commands?.[executable];
    if (!run) throw failed(`The program ${executable} is not installed`, 'SCI_EXECUTABLE_NOT_FOUND');
    const result = run(command, this.#known(name).files);
    if (result) return { exitCode: 0, stdout: '', stderr: '', ...result };
    return await new Promise((_resolve, reject) => {
      setTimeout(() => reject(failed(`${executable} did not end in ${timeoutMs} ms`)), timeoutMs);
    });
  }

  async putFiles({ name }: ContainerRef, files: InstanceFiles): Promise<void> {
    this.#call('put', name, ...Object.keys(files));
    const instance = this.#known(name);
    checkNames(files);
    instance.files = { ...instance.files, ...files };
    await Promise.resolve();
  }

  async signal({ name }: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    this.#call('signal', name, signal);
    deliver(this.#running(name), signal);
    await Promise.resolve();
  }

  async dial({ name }: ContainerRef, socketName: string): Promise<Duplex> {
    if (!this.supports.dial) throw failed('This runtime cannot dial');
    const connected = this.#running(name).sockets.get(socketName);
    if (!connected) throw Object.assign(new Error(`connect ENOENT ${socketName}`), { code: 'ENOENT' });
    const [near, far] = socketPair();
    connected(far);
    return await Promise.resolve(near);
  }

  async exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    signal.throwIfAborted();
    const instance = this.#instances.get(ref.name);
    if (instance?.status === 'running') {
      await new Promise<void>((resolve, reject) => {
        instance.ended.add(resolve);
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    return await this.inspect(ref);
  }

  #call(...words: readonly string[]): void {
    this.calls.push(words.join(' '));
  }

  #known(name: string): FakeInstance {
    const instance = this.#instances.get(name);
    if (!instance) throw failed(`There is no instance ${name}`);
    return instance;
  }

  #running(name: string): FakeInstance {
    const instance = this.#known(name);
    if (instance.status !== 'running') throw failed(`${name} does not run`, 'SCI_PROXY_DIED');
    return instance;
  }
}

const failed = (message: string, code: ErrorCode = 'SCI_RUNTIME_FAILED'): S2DSException =>
  new S2DSException(code, `${message}.`);

function checkNames(files: InstanceFiles): void {
  const wrong = Object.keys(files).find((name) => !FILE.test(name));
  if (wrong !== undefined) throw failed(`${wrong} is not a valid file name`);
}

function stateOf(name: string, instance: FakeInstance | undefined): ContainerState {
  if (!instance) return { name, status: 'absent', labels: {} };
  const { status, spec, exit } = instance;
  return { name, status, labels: spec.labels, ...(exit === undefined ? {} : { exit }) };
}

function selfOf(instance: FakeInstance): FakeSelf {
  return {
    name: instance.spec.name,
    args: instance.spec.args,
    files: () => instance.files,
    say: (line) => void instance.log.push(line),
    on: (signal, handler) => void instance.handlers.set(signal, handler),
    serve: (socketName, connected) => void instance.sockets.set(socketName, connected),
    exit: (code) => end(instance, `exit code ${code}`),
  };
}

function deliver(instance: FakeInstance, signal: NodeJS.Signals): void {
  const handler = signal === 'SIGKILL' ? undefined : instance.handlers.get(signal);
  if (handler) handler();
  else end(instance, `signal ${signal}`);
}

function end(instance: FakeInstance, exit: string): void {
  if (instance.status !== 'running') return;
  instance.status = 'exited';
  instance.exit = exit;
  instance.sockets.clear();
  for (const done of instance.ended) done();
  instance.ended.clear();
}

/** Two ends of a connection in memory. */
function socketPair(): [Duplex, Duplex] {
  const there = new PassThrough();
  const back = new PassThrough();
  return [Duplex.from({ writable: there, readable: back }), Duplex.from({ writable: back, readable: there })];
}
