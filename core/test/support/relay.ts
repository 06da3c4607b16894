import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, freeRange } from '@scistream/core/testing';

const WORKER = fileURLToPath(new URL('relay/worker.js', import.meta.resolve('@scistream/core')));
const cleanups: (() => void)[] = [];

export interface Address {
  host: string;
  port: number;
  fd?: number;
  fallbacks?: { host: string; port: number }[];
}

/** Counters of a worker without failures. */
export const NO_FAILURES = {
  errors: 0,
  refused: 0,
  unreachable: 0,
  unreachableNow: 0,
  handshakeFailed: 0,
  resetByConsumer: 0,
  resetByProducer: 0,
  limitReached: 0,
  limitReachedNow: 0,
};

interface ListenerStatus extends Record<keyof typeof NO_FAILURES, number> {
  connections: number;
  open: number;
  established: number;
  bytesIn: number;
  bytesOut: number;
}

export interface RelayOptions {
  transport?: 'tcp' | 'udp';
  listeners?: Address[];
  targets?: Address[];
  holdMs?: number;
  connectTimeoutMs?: number;
  retryMs?: number;
  udpSessionMs?: number;
  keepaliveIdleMs?: number;
  keepaliveProbingMs?: number;
  maxConnections?: number;
  sources?: string[];
  tls?: { leg: 'listeners' | 'targets'; peer: string; handshakeMs?: number };
  /** Command that runs the worker, for example in a network namespace. */
  prefix?: readonly string[];
  /** Files in the worker's directory besides `relay.json`. */
  files?: Readonly<Record<string, string>>;
}

/** Undoes everything that the helpers of this file created; for `after.each`. */
export function cleanUp(): void {
  for (const undo of cleanups.splice(0).reverse()) undo();
}

/** Polls until `probe` returns a value other than undefined or false. */
export async function until<T>(what: string, probe: () => Promise<T> | T): Promise<Exclude<T, false | undefined>> {
  let found: T | undefined;
  await eventually(async () => {
    found = await probe();
    if (found === undefined || found === false) throw new Error(`not reached: ${what}`);
  });
  return found as Exclude<T, false | undefined>;
}

/** A compiled worker in its own directory. */
export class Relay {
  readonly directory = mkdtempSync(join(tmpdir(), 'relay-'));
  readonly listeners: Address[];
  readonly #child: ChildProcess;
  stderr = '';

  constructor(options: RelayOptions & { listeners: Address[] }, stdio: number[] = [], files?: number) {
    this.listeners = options.listeners;
    const config = {
      transport: 'tcp',
      targets: [],
      holdMs: 20_000,
      connectTimeoutMs: 2000,
      retryMs: 50,
      udpSessionMs: 20_000,
      keepaliveIdleMs: 30_000,
      keepaliveProbingMs: 60_000,
    };
    const { files: own = {}, tls, prefix = [], ...rest } = options;
    const security = tls && { tls: { handshakeMs: 8000, ...tls } };
    const all = { ...own, 'relay.json': JSON.stringify({ ...config, ...rest, ...security }) };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(this.directory, name), text, { mode: 0o600 });
    const limit = files === undefined ? '' : `ulimit -n ${files};`;
    const command = [process.execPath, WORKER, 'relay.json'].map((word) => `'${word}'`).join(' ');
    const [first = '', ...args] = [...prefix, '/bin/sh', '-c', `${limit} exec ${command}`];
    this.#child = spawn(first, args, {
      cwd: this.directory,
      stdio: ['ignore', 'ignore', 'pipe', ...stdio],
    });
    this.#child.stderr?.on('data', (text: Buffer) => (this.stderr += text.toString()));
    cleanups.push(() => {
      this.#child.kill('SIGKILL');
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the worker did not start');
    return this.#child.pid;
  }

  get control(): string {
    return join(this.directory, 'control.sock');
  }

  async exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return { code: this.#child.exitCode, signal: this.#child.signalCode };
  }

  /** Sends lines unchanged and resolves with the same number of reply lines. */
  async say(...lines: string[]): Promise<Record<string, unknown>[]> {
    const socket = connect(this.control);
    try {
      socket.write(lines.map((line) => `${line}\n`).join(''));
      let text = '';
      for await (const chunk of socket) {
        text += String(chunk);
        if (text.split('\n').length > lines.length) break;
      }
      return text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    } finally {
      socket.destroy();
    }
  }

  async retarget(...targets: Address[]): Promise<void> {
    const [reply] = await this.say(JSON.stringify({ cmd: 'targets', targets }));
    if (reply?.['ok'] !== true) throw new Error(JSON.stringify(reply));
  }

  /** Counters of a listener, the first by default. */
  async status(index = 0): Promise<ListenerStatus> {
    const [reply] = await this.say('{"cmd":"status"}');
    const status = (reply as { listeners: ListenerStatus[] } | undefined)?.listeners[index];
    if (!status) throw new Error(`no listener ${index} in ${JSON.stringify(reply)}`);
    return status;
  }

  /** Resident memory in bytes. */
  rss(): number {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kib) * 1024;
  }

  /** CPU time used so far, in clock ticks (10 ms). */
  cpu(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** A client of a listener, the first by default. Its errors are ignored unless the test listens to them. */
  dial(index = 0): Socket {
    const { host, port } = this.listeners[index] ?? { host: '', port: 0 };
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.on('error', () => undefined);
    cleanups.push(() => socket.destroy());
    return socket;
  }
}

/** Starts a worker, by default with one loopback listener, and waits until its control socket answers. */
export async function startRelay(options: RelayOptions = {}, stdio?: number[], files?: number): Promise<Relay> {
  const listeners = options.listeners ?? [{ host: '127.0.0.1', port: await freePort() }];
  const relay = new Relay({ ...options, listeners }, stdio, files);
  await until(`worker ready (${relay.stderr})`, () => relay.say('{"cmd":"status"}').catch(() => undefined));
  return relay;
}

const ports: number[] = [];

/** A port that is reserved for the caller. */
export async function freePort(): Promise<number> {
  const port = ports.pop();
  if (port !== undefined) return port;
  const { first, last } = await freeRange(32);
  for (let next = first; next < last; next += 1) ports.push(next);
  return last;
}

/** A TCP target that records accepted sockets and passes each to `serve`. */
export class Target {
  readonly accepted: Socket[] = [];
  readonly #server: Server;

  constructor(serve: (socket: Socket) => void = () => undefined) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.accepted.push(socket);
      socket.on('error', () => undefined);
      cleanups.push(() => socket.destroy());
      serve(socket);
    });
    cleanups.push(() => this.#server.close());
  }

  async listen(port = 0, host = '127.0.0.1'): Promise<Address> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  /** Stops accepting connections. */
  close(): void {
    this.#server.close();
  }

  /** The accepted socket number `index`; waits for it. */
  socket(index = 0): Promise<Socket> {
    return until(`connection ${index} at the target`, () => this.accepted[index]);
  }
}

/** A UDP socket on loopback that records what it receives and replies with `answer`. */
export async function udpPeer(
  answer?: (data: string) => string,
): Promise<{ socket: UdpSocket; address: Address; got: string[] }> {
  const socket = createSocket('udp4');
  const got: string[] = [];
  socket.on('message', (data, { port, address }) => {
    got.push(data.toString());
    if (answer) socket.send(answer(data.toString()), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  cleanups.push(() => socket.close());
  return { socket, got, address: { host: '127.0.0.1', port: socket.address().port } };
}

/** Reads to the end of the stream; rejects if it breaks. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How the stream ended: `end`, or an error code. */
export function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once('end', () => resolve('end'));
  });
}
