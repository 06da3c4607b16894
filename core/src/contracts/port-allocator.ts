import type { Address, Transport } from './address.js';

/** An inclusive range of ports. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Formats a range for output: `5100-5109`, or `22` for one port. */
export const formatPorts = ({ first, last }: PortRange): string =>
  first === last ? String(first) : `${first}-${last}`;

/** A port that is leased to a stream. */
export interface ReservedListener {
  readonly address: Address;
  /**
   * Descriptor of the listening socket in this process, which a local proxy inherits. Absent for UDP. Valid until
   * `close` is called.
   */
  readonly fd?: number;
  /**
   * Binds the port again after `close`, for the restart of a proxy. Does nothing if this process still has the socket.
   * @throws SCI_PORT_TAKEN if another process has bound the port since
   */
  bind(): Promise<void>;
  /**
   * Closes the socket of this process: after a proxy has inherited it, or before a proxy that cannot inherit sockets
   * binds the port. The port stays leased. Idempotent.
   */
  close(): Promise<void>;
}

/** A request for ports of one stream. */
export interface PortRequest {
  readonly uid: string;
  /** IP address to bind. */
  readonly host: string;
  readonly transport: Transport;
  /** Number of ports, at least 1. */
  readonly count: number;
  /** True if `host` belongs to another machine. Its ports are leased without a bind that proves them free. */
  readonly remote?: boolean;
}

/** Ports that a previous process of this gateway leased, and that a running proxy has bound. */
export interface AdoptedPorts {
  readonly uid: string;
  readonly transport: Transport;
  readonly addresses: readonly Address[];
  readonly remote?: boolean;
}

/** A leased port and its stream. */
export interface PortLease {
  readonly uid: string;
  readonly host: string;
  readonly port: number;
}

/** Manages the port range of one gateway. Calls may overlap. */
export interface PortAllocator {
  /**
   * Leases `count` ports, or none. It binds each port exclusively first, so it skips ports that other programs use. A
   * repeated call for the same uid returns the same ports.
   * @throws SCI_PORTS_EXHAUSTED with the range and the numbers of leased, occupied and requested ports;
   * SCI_LISTENER_ADDRESS if `host` is not an address of this machine
   */
  allocate(request: PortRequest): Promise<readonly ReservedListener[]>;
  /** Leases the ports of a recovered stream without binding them. Called before `allocate`. */
  adopt(ports: AdoptedPorts): readonly ReservedListener[];
  /** Ends the leases of a uid and closes its sockets. Idempotent. */
  release(uid: string): Promise<void>;
  /** Returns all current leases. */
  inUse(): readonly PortLease[];
}
