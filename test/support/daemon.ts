import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '@scistream/core/testing';
import type { PeerOptions } from './clients.js';
import { leftovers, type Leftovers } from './leftovers.js';
import { freeRange, type PortRange } from './ports.js';

const BIN = new URL('../../../cli/bin/', import.meta.url);

/** Starts a daemon with the configuration in `file`. Returns the process and the line that it prints when it listens. */
async function launch<Said>(
  bin: 's2cs' | 's2ds',
  file: string,
  prefix: readonly string[] = [],
  atEnd: readonly string[] = ['--release-on-exit'],
): Promise<{ child: ChildProcess; said: Said }> {
  const args = [fileURLToPath(new URL(`${bin}.js`, BIN)), '--config', file, '--json', '--quiet', ...atEnd];
  const [program = '', ...rest] = [...prefix, process.execPath, ...args];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${bin} ended with exit code ${String(code)} before it listened`);
  });
  ended.catch(() => undefined);
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
  const said = JSON.parse(line) as Said & { readonly error?: unknown };
  // A daemon that cannot start prints the reason before it ends.
  if (said.error !== undefined) throw new Error(`${bin} does not start: ${line}`);
  return { child, said };
}

/** Ends a daemon and waits for its end. Idempotent. @returns Its exit code; null if a signal ended it. */
async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }
  return child.exitCode;
}

export interface DaemonOptions {
  readonly facility?: string;
  /** Number of ports of the gateway; default 16. */
  readonly ports?: number;
  /** Where inbound and outbound listeners bind. */
  readonly wan?: string;
  readonly lan?: string;
  /** `unix:/path` of a data server daemon; default: embedded. */
  readonly s2ds?: string;
  /** More keys of the configuration. */
  readonly config?: object;
  /** Command that runs the daemon elsewhere, such as in a network namespace. */
  readonly prefix?: readonly string[];
  /** State directory; default: below a temporary one. */
  readonly state?: string;
}

interface Said {
  readonly listen: string;
  readonly fingerprint: string;
}

/** A control server as an operator runs it: `s2cs --config F` in its own process, on a free loopback port. */
export class Daemon implements AsyncDisposable {
  private constructor(
    private child: ChildProcess,
    private readonly file: string,
    private readonly prefix: readonly string[],
    /** host:port */
    readonly address: string,
    readonly fingerprint: string,
    readonly state: string,
    readonly range: PortRange,
    private readonly remove: () => Promise<void>,
  ) {}

  static async start(options: DaemonOptions = {}): Promise<Daemon> {
    const { facility = 'aps', ports = 16, wan = '127.0.0.2', lan = '127.0.0.3', s2ds = 'embedded' } = options;
    const { prefix = [] } = options;
    const directory = await temporaryDirectory();
    // One more port for the control server.
    const { first, last } = await freeRange(ports + 1);
    const range = { first, last: last - 1 };
    const state = options.state ?? join(directory.path, 'state');
    const gateway = { name: `${facility}-gw`, s2ds, wan, lan, ports: `${range.first}-${range.last}` };
    const config = {
      facility,
      listen: `127.0.0.1:${last}`,
      state,
      encryption: 'optional',
      gateways: [gateway],
      ...options.config,
    };
    const file = join(directory.path, 's2cs.conf');
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    const { child, said } = await launch<Said>('s2cs', file, prefix);
    return new Daemon(child, file, prefix, said.listen, said.fingerprint, state, range, () => directory.remove());
  }

  /** Pid of the current process, or of the last one. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The certificate file that legacy clients trust. */
  get certificate(): string {
    return join(this.state, 'tls', 'server.crt');
  }

  get peerOptions(): PeerOptions {
    return { url: `https://${this.address}`, certificate: this.certificate };
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.state, this.range);
  }

  /** Ends the daemon and its streams. Idempotent. @returns Its exit code. */
  stop(): Promise<number | null> {
    return end(this.child, 'SIGTERM');
  }

  /** Kills the daemon with SIGKILL, so that it cannot clean up. */
  async kill(): Promise<void> {
    await end(this.child, 'SIGKILL');
  }

  /** Restarts it with the same configuration. */
  async again(): Promise<void> {
    this.child = (await launch('s2cs', this.file, this.prefix)).child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.remove();
  }
}

/** Where a data server runs. */
export interface Place {
  readonly prefix: readonly string[];
  readonly wan: string;
  readonly lan: string;
}

const HERE: Place = { prefix: [], wan: '127.0.0.2', lan: '127.0.0.3' };

/** A data server as an operator runs it: `s2ds --config F` in its own process. */
export class GatewayDaemon implements AsyncDisposable {
  private constructor(
    private child: ChildProcess,
    private readonly file: string,
    private readonly prefix: readonly string[],
    /** `unix:/path`, or host:port with TLS. */
    readonly address: string,
    readonly state: string,
    readonly range: PortRange,
    private readonly remove: () => Promise<void>,
  ) {}

  /**
   * @param name Of the gateway, as in the configuration of the control server.
   * @param tls Key of the configuration; with it the data server listens on a port instead of a unix socket.
   * @param place Command that runs it elsewhere, such as in a network namespace, and its addresses there.
   */
  static async start(name: string, ports = 16, place: Place = HERE, tls?: object): Promise<GatewayDaemon> {
    const { prefix, wan, lan } = place;
    const directory = await temporaryDirectory();
    // With TLS, one more port for the data server.
    const all = await freeRange(tls ? ports + 1 : ports);
    const range = { first: all.first, last: all.first + ports - 1 };
    const state = join(directory.path, 'state');
    const listen = tls ? `127.0.0.1:${all.last}` : `unix:${join(directory.path, 's2ds.sock')}`;
    const span = `${range.first}-${range.last}`;
    const file = join(directory.path, 's2ds.conf');
    const config = { name, listen, state, wan, lan, ports: span, ...(tls && { tls }) };
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    const { child } = await launch('s2ds', file, prefix);
    return new GatewayDaemon(child, file, prefix, listen, state, range, () => directory.remove());
  }

  /** Pid of the current process, or of the last one. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.state, this.range);
  }

  /** Ends the daemon and its streams. Idempotent. @returns Its exit code. */
  stop(): Promise<number | null> {
    return end(this.child, 'SIGTERM');
  }

  async kill(): Promise<void> {
    await end(this.child, 'SIGKILL');
  }

  /** Restarts it. @param keep Whether its streams keep running after it is stopped. */
  async again({ keep = false } = {}): Promise<void> {
    this.child = (await launch('s2ds', this.file, this.prefix, keep ? [] : undefined)).child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.remove();
  }
}
