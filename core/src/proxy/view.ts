import type { Address, Target, Transport } from '../contracts/address.js';
import type { ContainerRef, InstanceFiles } from '../contracts/container-runtime.js';
import type { Role, StreamTls } from '../contracts/stream.js';

/** One listener of an instance. */
export interface ProxyListener {
  /** Address to bind. */
  readonly address: Address;
  /** Descriptor of the inherited listening socket. Absent: the instance binds `address`. */
  readonly fd?: number;
}

/** The task of one instance, with parsed values only. The input of templates. */
export interface ProxyView {
  readonly uid: string;
  readonly role: Role;
  readonly transport: Transport;
  readonly listeners: readonly ProxyListener[];
  /**
   * IP literals. `targets[i]` belongs to `listeners[i]`. Empty until the first UPDATE. A TCP connection that does not reach
   * a target tries its `fallbacks` in turn.
   */
  readonly targets: readonly Target[];
  /** Local address of connections to those targets for which `localAddressFor` returns it. */
  readonly localAddress?: string;
  /** Reserved rate of the whole stream, bit/s. */
  readonly bitsPerSecond: number | undefined;
  /** Credentials for the leg to the other gateway; see {@link StreamTls}. Absent: not encrypted. */
  readonly tls?: StreamTls;
  /** Networks in CIDR notation from which the listeners accept connections. Absent: all. */
  readonly sources?: readonly string[];
}

/** How to run an instance. The fields match those of `ContainerSpec`. */
export interface ProxyDescription {
  readonly image: string;
  readonly executable: string;
  readonly args: readonly string[];
  /** Name of the file in `files` that `check` tests. */
  readonly config: string;
  readonly files: InstanceFiles;
  /** Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
}

/** A running instance and its current task. */
export interface ProxyInstance {
  readonly ref: ContainerRef;
  readonly view: ProxyView;
}
