import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Address, Transport } from './address.js';

/** Files of an instance: file name (without directories) → content. */
export type InstanceFiles = Readonly<Record<string, string>>;

/**
 * An instance to run, independent of the runtime. Each instance has its own directory, which holds `files` and is the
 * working directory of the program. Relative paths refer to it.
 */
export interface ContainerSpec {
  /** Unique in the runtime. Derived from the uid of the stream. */
  readonly name: string;
  /** Image with a pinned tag or digest. Used only where `supports.images`. */
  readonly image: string;
  /** Program, searched in PATH: in the image where `supports.images`, otherwise on this machine. */
  readonly executable: string;
  /** Never contains a secret: every user of the machine can read the arguments of a process. */
  readonly args: readonly string[];
  readonly files: InstanceFiles;
  /** See {@link LABELS}. */
  readonly labels: Readonly<Record<string, string>>;
  /** File descriptors that the program inherits as 3, 4 and so on. Empty unless `supports.inheritSockets`. */
  readonly sockets: readonly number[];
  /** Signal that requests a graceful stop. */
  readonly stopSignal: NodeJS.Signals;
  /** External addresses of the program. A runtime without `supports.hostNetwork` publishes them. */
  readonly listeners: readonly Address[];
  readonly transport: Transport;
  /** Node that `place` chose. Absent in runtimes with a single machine. */
  readonly node?: string;
}

/** Reference to an instance, as `create` returns it. */
export interface ContainerRef {
  readonly name: string;
}

/** Describes an exit code of a shell or a container engine, where 128 plus n stands for signal n: `signal SIGKILL`. */
export function exitOf(code: number): string {
  const [signal] = Object.entries(constants.signals).find(([, number]) => number === code - 128) ?? [];
  return signal === undefined ? `exit code ${code}` : `signal ${signal}`;
}

/** Current state of an instance. */
export interface ContainerState extends ContainerRef {
  readonly status: 'created' | 'running' | 'exited' | 'absent';
  readonly labels: Readonly<Record<string, string>>;
  /** Process id of the program on this machine, if the runtime knows it. */
  readonly pid?: number;
  /** `exit code 1` or `signal SIGKILL`, if the runtime knows it. */
  readonly exit?: string;
}

/** Exit code and output (UTF-8) of a command. */
export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Optional features of a runtime. */
export interface RuntimeCapabilities {
  /** Programs inherit listening sockets that the data server has bound, so a reserved port is never unbound. */
  readonly inheritSockets: boolean;
  /** `dial` connects to unix sockets that the program creates in its directory. */
  readonly dial: boolean;
  /** Programs come from `ContainerSpec.image` and do not see the file system of this machine. */
  readonly images: boolean;
  /**
   * Instances use the network of the machine they run on. Otherwise a program listens on all its own addresses, and the
   * runtime publishes `ContainerSpec.listeners`.
   */
  readonly hostNetwork: boolean;
}

/** The node that a runtime with several machines chose for a stream. */
export interface Placement {
  readonly node: string;
  /** Address of the node for the listeners of the inbound side. */
  readonly wan: string;
  /** Address of the node for the listeners of the outbound side. */
  readonly lan: string;
}

/** One finding about a runtime, for `scistream doctor`. */
export interface Advice {
  readonly level: 'ok' | 'warning' | 'problem';
  /** One sentence. */
  readonly message: string;
  /** Actions, each with an exact command or configuration key. */
  readonly suggestions: readonly string[];
}

/** Names of the labels of an instance. A runtime stores all labels of the spec and finds instances by them. */
export const LABELS = {
  managed: 'org.scistream.managed',
  gateway: 'org.scistream.gateway',
  /**
   * Id of the daemon of the instance. Daemons that share a runtime only touch their own instances. The text says `owner`
   * because earlier versions wrote it on instances that may still run.
   */
  serverId: 'org.scistream.owner',
  uid: 'org.scistream.uid',
  role: 'org.scistream.role',
  proxy: 'org.scistream.proxy',
  /** Hash of the request without its targets. An instance with another hash is replaced when a daemon recovers. */
  specHash: 'org.scistream.spec-hash',
} as const;

/**
 * Runs proxies: local processes, containers or remote sessions. Only data servers call it. Every call is idempotent, so
 * a caller may repeat it after a lost response. Calls for different instances run concurrently. All methods throw
 * S2DSException with SCI_RUNTIME_UNREACHABLE, SCI_RUNTIME_FAILED or the codes of the method. Each call except `exited` has
 * a deadline, at which `signal` aborts and the call fails with SCI_PLUGIN_FAILED.
 */
export interface ContainerRuntime {
  /** Name in flags and in the configuration, as in the manifest. */
  readonly id: string;
  readonly supports: RuntimeCapabilities;
  /** Checks that the runtime is usable now. @throws SCI_RUNTIME_UNREACHABLE with suggestions */
  ping(signal?: AbortSignal): Promise<void>;
  /** Checks how the runtime is configured, for `scistream doctor`. @throws as {@link ping} */
  advise?(signal?: AbortSignal): Promise<readonly Advice[]>;
  /** Chooses a node for a stream. Only for runtimes with several machines: the gateway cannot bind ports there. */
  place?(uid: string, signal?: AbortSignal): Promise<Placement>;
  /**
   * Creates the instance and its files without starting the program.
   * @throws SCI_CONTAINER_CONFLICT if the name is in use, SCI_IMAGE_NOT_FOUND
   */
  create(spec: ContainerSpec, signal?: AbortSignal): Promise<ContainerRef>;
  /** Starts the program. Does not wait until it is ready. @throws SCI_EXECUTABLE_NOT_FOUND */
  start(ref: ContainerRef, spec: ContainerSpec, signal?: AbortSignal): Promise<void>;
  /** Sends `stopSignal`, and SIGKILL after `graceMs`. Returns when no process of the instance runs. */
  stop(ref: ContainerRef, graceMs: number, signal?: AbortSignal): Promise<void>;
  /** Removes a stopped instance and its files. */
  remove(ref: ContainerRef, signal?: AbortSignal): Promise<void>;
  /** Returns the current state. Status `absent` if the instance does not exist. */
  inspect(ref: ContainerRef, signal?: AbortSignal): Promise<ContainerState>;
  /** Returns the instances that have all the given labels. */
  list(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<readonly ContainerState[]>;
  /** Returns the last lines that the program wrote to stdout and stderr. */
  logs(ref: ContainerRef, lines: number, signal?: AbortSignal): Promise<string>;
  /** Runs a command in the directory of the instance, started or not. Fails after `timeoutMs`. */
  exec(ref: ContainerRef, command: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<ExecResult>;
  /** Adds or replaces files. Each file is replaced atomically and is readable only by the program. */
  putFiles(ref: ContainerRef, files: InstanceFiles, signal?: AbortSignal): Promise<void>;
  /** Sends a signal to the program. */
  signal(ref: ContainerRef, signal: NodeJS.Signals, until?: AbortSignal): Promise<void>;
  /**
   * Connects to a unix socket in the directory of the instance. Only where `supports.dial`. Rejects as connect(2)
   * fails.
   */
  dial(ref: ContainerRef, socketName: string, signal?: AbortSignal): Promise<Duplex>;
  /** Resolves when the program has ended for any reason. Rejects when `signal` aborts. */
  exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState>;
}
