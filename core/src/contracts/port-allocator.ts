import type { Address, Transport } from './address.js';

/** An inclusive range of ports. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A port that belongs to a stream. */
export interface ReservedListener {
  readonly address: Address;
  /**
   * Descriptor of a bound and listening socket of this process that a local proxy may inherit; absent for UDP. Valid
   * until `letGo` was called.
   */
  readonly fd?: number;
  /**
   * Binds the port again after `letGo`, for a proxy that is started anew; nothing where it is bound.
   * @throws SCI_PORT_TAKEN when somebody else has bound it meanwhile.
   */
  hold(): Promise<void>;
  /**
   * Closes this process's copy of the socket: after a proxy has inherited it, or just before a proxy that cannot
   * inherit binds the port itself. The port stays leased. Idempotent.
   */
  letGo(): Promise<void>;
}

/** Ports that a stream needs. */
export interface PortRequest {
  readonly uid: string;
  /** The one local address to bind. */
  readonly host: string;
  readonly transport: Transport;
  /** How many ports, at least 1. */
  readonly count: number;
  /** Whether `host` is another machine, whose ports cannot be bound here: they are leased unproven. */
  readonly remote?: boolean;
}

/** Ports that a proxy of the stream has bound already, as an earlier process of this gateway leased them. */
export interface AdoptedPorts {
  readonly uid: string;
  readonly transport: Transport;
  readonly addresses: readonly Address[];
  readonly remote?: boolean;
}

/** A port in use and whose it is. */
export interface PortLease {
  readonly uid: string;
  readonly host: string;
  readonly port: number;
}

/** Owns the port range of one gateway. Calls may overlap. */
export interface PortAllocator {
  /**
   * Leases `count` ports, all or nothing. Each is bound exclusively before it is given out, so a port somebody else
   * uses is never handed on. The same uid again gets the same ports.
   * @throws SCI_PORTS_EXHAUSTED (range, leased, taken by others, asked for), SCI_LISTENER_ADDRESS
   */
  allocate(request: PortRequest): Promise<readonly ReservedListener[]>;
  /** Leases ports again without binding them; before any call of `allocate`. */
  adopt(ports: AdoptedPorts): readonly ReservedListener[];
  /** Gives the ports of a uid back and closes what is still open. Idempotent. */
  release(uid: string): Promise<void>;
  inUse(): readonly PortLease[];
}
