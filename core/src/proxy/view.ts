import type { Address, Transport } from '../contracts/address.js';
import type { ContainerRef, InstanceFiles } from '../contracts/container-runtime.js';
import type { Role, StreamTls } from '../contracts/stream.js';

/** A listener as an instance sees it. */
export interface ProxyListener {
  /** What to bind. */
  readonly address: Address;
  /** Descriptor of the inherited listening socket; absent where the instance must bind `address` itself. */
  readonly fd?: number;
}

/** What an instance has to do, everything parsed: made for templates. */
export interface ProxyView {
  readonly uid: string;
  readonly role: Role;
  readonly transport: Transport;
  readonly listeners: readonly ProxyListener[];
  /** IP literals, `targets[i]` belongs to `listeners[i]`; empty until the first UPDATE. */
  readonly targets: readonly Address[];
  readonly bitsPerSecond: number | undefined;
  /** Present where the leg to the other gateway is encrypted; see {@link StreamTls} for which leg that is. */
  readonly tls?: StreamTls;
  /** Networks as CIDR, `10.0.0.0/8` or `2001:db8::/32`: from nowhere else may connections come. Absent: from everywhere. */
  readonly sources?: readonly string[];
}

/** How to run an instance; see the fields of the same names in {@link ContainerSpec}. */
export interface ProxyDescription {
  readonly image: string;
  readonly executable: string;
  readonly args: readonly string[];
  /** Name of the file in `files` that `check` is asked about. */
  readonly config: string;
  readonly files: InstanceFiles;
  /** Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
}

/** An instance that runs, with what it currently does. */
export interface ProxyInstance {
  readonly ref: ContainerRef;
  readonly view: ProxyView;
}
