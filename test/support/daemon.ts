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

const S2CS = fileURLToPath(new URL('../../../cli/bin/s2cs.js', import.meta.url));

export interface DaemonOptions {
  readonly facility?: string;
  /** How many ports the gateway has, default 16. */
  readonly ports?: number;
  /** Where inbound and outbound listeners bind. */
  readonly wan?: string;
  readonly lan?: string;
  /** Further keys of the configuration, as they stand in the file. */
  readonly config?: object;
}

/** A control server as an operator runs it: `s2cs --config F` in a process of its own, on a free port of loopback. */
export class Daemon implements AsyncDisposable {
  private constructor(
    readonly child: ChildProcess,
    /** host:port */
    readonly address: string,
    readonly fingerprint: string,
    readonly state: string,
    readonly range: PortRange,
    private readonly remove: () => Promise<void>,
  ) {}

  static async start(options: DaemonOptions = {}): Promise<Daemon> {
    const { facility = 'aps', ports = 16, wan = '127.0.0.2', lan = '127.0.0.3' } = options;
    const directory = await temporaryDirectory();
    // One more for the control server itself.
    const { first, last } = await freeRange(ports + 1);
    const range = { first, last: last - 1 };
    const state = join(directory.path, 'state');
    const gateway = { name: `${facility}-gw`, wan, lan, ports: `${range.first}-${range.last}` };
    const config = { facility, listen: `127.0.0.1:${last}`, state, gateways: [gateway], ...options.config };
    const file = join(directory.path, 's2cs.conf');
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    const child = spawn(process.execPath, [S2CS, '--config', file, '--json', '--quiet'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`s2cs ${facility} ended with exit code ${String(code)} before it listened`);
    });
    ended.catch(() => undefined);
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
    const { listen, fingerprint } = JSON.parse(line) as { listen: string; fingerprint: string };
    return new Daemon(child, listen, fingerprint, state, range, () => directory.remove());
  }

  /** The file clients of the existing kind trust. */
  get certificate(): string {
    return join(this.state, 'tls', 'server.crt');
  }

  get peerOptions(): PeerOptions {
    return { url: `https://${this.address}`, certificate: this.certificate };
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.state, this.range);
  }

  /** Ends the daemon as an operator does. @returns its exit code. Idempotent. */
  async stop(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await exit;
    }
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.remove();
  }
}
