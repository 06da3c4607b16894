import type { Duplex } from 'node:stream';
import type { Address, Transport } from './address.js';

/** Files of an instance: name (no directories) to content. */
export type InstanceFiles = Readonly<Record<string, string>>;

/**
 * What to run: described once by a proxy, carried out by any runtime. Everything relative is relative to the instance's
 * own directory, which is the working directory of the program and holds `files`.
 */
export interface ContainerSpec {
  /** Unique on the gateway; made from the uid. */
  readonly name: string;
  /** Image with a pinned tag or digest, for runtimes that have images. */
  readonly image: string;
  /** Program, looked up in PATH: of the image where `supports.images`, of this machine otherwise. */
  readonly executable: string;
  /** Never a secret among them: anybody on the machine can read arguments. */
  readonly args: readonly string[];
  readonly files: InstanceFiles;
  readonly labels: Readonly<Record<string, string>>;
  /** Descriptors to pass on as 3, 4 …, only where `supports.inheritSockets`. */
  readonly sockets: readonly number[];
  /** Signal that asks the program to end. */
  readonly stopSignal: NodeJS.Signals;
  /** Where the world reaches the program, which a runtime without `supports.hostNetwork` has to publish. */
  readonly listeners: readonly Address[];
  readonly transport: Transport;
  /** The machine that `place` chose, where the runtime has several. */
  readonly node?: string;
}

/** Names an instance that `create` made. */
export interface ContainerRef {
  readonly name: string;
}

/** An instance as the runtime sees it now. */
export interface ContainerState extends ContainerRef {
  readonly status: 'created' | 'running' | 'exited' | 'absent';
  readonly labels: Readonly<Record<string, string>>;
  /** Of the program on this machine, where the runtime knows it. */
  readonly pid?: number;
  /** `exit code 1` or `signal SIGKILL`, where the runtime knows. */
  readonly exit?: string;
}

/** How a command ended and what it wrote, as UTF-8. */
export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a runtime can do beyond running programs. */
export interface RuntimeCapabilities {
  /** A program inherits listening sockets that the data server has bound, so no port is ever free in between. */
  readonly inheritSockets: boolean;
  /** `dial` reaches unix sockets that the program makes in its directory. */
  readonly dial: boolean;
  /** Programs come out of `ContainerSpec.image`, so that a path of this machine means nothing to them. */
  readonly images: boolean;
  /**
   * Instances have the addresses of the machine they run on. Otherwise a program listens on every address of its own,
   * and the runtime publishes `ContainerSpec.listeners`.
   */
  readonly hostNetwork: boolean;
}

/** A machine that a runtime with several has chosen for a stream. */
export interface Placement {
  readonly node: string;
  /** Its addresses: inbound (PROD) listeners bind `wan`, outbound (CONS) ones `lan`. */
  readonly wan: string;
  readonly lan: string;
}

/** Something about a runtime that works and could be better, or will not stay so. */
export interface Advice {
  readonly level: 'ok' | 'warning' | 'problem';
  /** One sentence. */
  readonly message: string;
  /** What to do, each an exact command or configuration key. */
  readonly suggestions: readonly string[];
}

/** Labels every instance carries. */
export const LABELS = {
  managed: 'org.scistream.managed',
  gateway: 'org.scistream.gateway',
  /** The data server the instance belongs to; others may share the runtime and must not touch it. */
  owner: 'org.scistream.owner',
  uid: 'org.scistream.uid',
  role: 'org.scistream.role',
  proxy: 'org.scistream.proxy',
  /** Equal when an instance does what a stream needs, whatever its present targets are. */
  specHash: 'org.scistream.spec-hash',
} as const;

/**
 * Where proxies run. Every call is idempotent and may be repeated after a lost answer; calls for different instances
 * overlap. All throw S2DSException: SCI_RUNTIME_UNREACHABLE, SCI_RUNTIME_FAILED, and what is named at the method.
 */
export interface ContainerRuntime {
  readonly id: string;
  readonly supports: RuntimeCapabilities;
  /** Whether the runtime can be used now. @throws SCI_RUNTIME_UNREACHABLE with what to do */
  ping(): Promise<void>;
  /** What whoever runs it should know, for `scistream doctor`. @throws as {@link ping} */
  advise?(): Promise<readonly Advice[]>;
  /** Chooses a machine for a stream, in runtimes that have several; its ports cannot be bound beforehand. */
  place?(uid: string): Promise<Placement>;
  /**
   * Makes the instance and its files without running it.
   * @throws SCI_CONTAINER_CONFLICT when the name is taken, SCI_IMAGE_NOT_FOUND
   */
  create(spec: ContainerSpec): Promise<ContainerRef>;
  /** Runs it. Returning says that the program was started, not that it is ready. @throws SCI_EXECUTABLE_NOT_FOUND */
  start(ref: ContainerRef, spec: ContainerSpec): Promise<void>;
  /** Asks it to end, and ends it by force after `graceMs`. Returns when nothing of it runs. */
  stop(ref: ContainerRef, graceMs: number): Promise<void>;
  /** Removes it with its files; it must not run. */
  remove(ref: ContainerRef): Promise<void>;
  inspect(ref: ContainerRef): Promise<ContainerState>;
  /** Instances that carry all the given labels. */
  list(labels: Readonly<Record<string, string>>): Promise<readonly ContainerState[]>;
  /** The last lines the program wrote. */
  logs(ref: ContainerRef, lines: number): Promise<string>;
  /** Runs a command beside the program, in the instance's directory; works from `create` on. At most `timeoutMs`. */
  exec(ref: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult>;
  /** Adds or replaces files, each atomically, readable by the program only. */
  putFiles(ref: ContainerRef, files: InstanceFiles): Promise<void>;
  signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void>;
  /** Connects to a unix socket that the program made in its directory, where `supports.dial`. Rejects as connect does. */
  dial(ref: ContainerRef, socketName: string): Promise<Duplex>;
  /** Settles when the program has ended, however it ended. Rejects only when `signal` aborts. */
  exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState>;
}
