/**
 * The relay worker: forwards data between listeners and targets until it is stopped. A runtime starts it as
 * `node worker.js relay.json` in the private directory of the instance; protocol.ts describes its input and output. It
 * keeps running when its parent ends. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed to start, 70 defect.
 * It imports only Node.js modules and its siblings: its start is part of the set-up time of a stream, and program.ts
 * copies these files into containers. There it is process 1, for which signals have no default action.
 */
import { readFileSync, rmSync, writeSync } from 'node:fs';
import { serveControl } from './control.js';
import { Keepalive } from './keepalive.js';
import type { Listener } from './listener.js';
import { parseConfig } from './parse.js';
import { CONTROL_SOCKET, inForce, type RelayConfig, type RelayTls } from './protocol.js';
import { Reasons } from './reasons.js';
import { Sources } from './sources.js';
import { TcpListener, type TcpSecurity } from './tcp.js';
import { keyOf, UdpListener } from './udp.js';

/** Descriptors besides two per connection: of Node.js, the listeners and the control socket. */
const SPARE_FILES = 32;

/** Writes one line to stderr, synchronously: a closed `process.stderr` would raise an exception later. */
function report(text: string): void {
  try {
    writeSync(2, `scistream relay: ${text}\n`);
  } catch {
    // stderr is closed (EPIPE) or full. Forwarding continues without the message.
  }
}

function die(code: 1 | 70, reason: unknown): never {
  if (reason instanceof Error) report(code === 70 ? (reason.stack ?? reason.message) : reason.message);
  else report(String(reason));
  process.exit(code);
}

async function main(file: string | undefined): Promise<void> {
  if (file === undefined) throw new Error('no start file given; usage: worker.js relay.json');
  const read = (): RelayConfig => parseConfig(readFileSync(file, 'utf8'));
  const config = read();
  const reasons = new Reasons(report);
  const security = config.tls && (await secure(config.tls, reasons));
  const sources = config.sources && new Sources(config.sources);
  const keepalive = new Keepalive({ idleMs: config.keepaliveIdleMs, probingMs: config.keepaliveProbingMs });
  const maxConnections = config.transport === 'tcp' ? connectionLimit(config.maxConnections) : undefined;
  const isFull = (): boolean =>
    maxConnections !== undefined && listeners.reduce((sum, { counters }) => sum + counters.open, 0) >= maxConnections;
  const own = new Set(config.listeners.map(keyOf));
  const listeners: readonly Listener[] = config.listeners.map((address, i) => {
    const listener =
      config.transport === 'tcp'
        ? new TcpListener(address, config, { keepalive, isFull }, security, sources)
        : new UdpListener(address, config.udpSessionMs, own, sources);
    listener.retarget(config.targets[i]);
    return listener;
  });
  await Promise.all(listeners.map((listener) => listener.listen()));
  if (config.revision !== undefined) {
    process.on('SIGHUP', () => follow(read, listeners));
    report(inForce(config.revision));
    return;
  }
  // Keep running when the terminal of the parent closes.
  process.on('SIGHUP', () => undefined);
  await serveControl(listeners, maxConnections, reasons);
  process.on('exit', () => rmSync(CONTROL_SOCKET, { force: true }));
}

/** Reads the start file again and applies its targets. An error in the file changes nothing. */
function follow(read: () => RelayConfig, listeners: readonly Listener[]): void {
  try {
    const { targets, revision = '' } = read();
    listeners.forEach((listener, i) => listener.retarget(targets[i]));
    report(inForce(revision));
  } catch (error) {
    report(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Returns the maximum number of TCP connections. Each needs two descriptors. Beyond the limit of open files, libuv closes
 * accepted connections without a report, so the worker stays below it.
 */
function connectionLimit(wanted: number | undefined): number | undefined {
  // Node.js has raised the soft limit to the hard limit.
  const files = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  const possible = files === undefined ? Infinity : Math.max(1, Math.floor((Number(files) - SPARE_FILES) / 2));
  const limit = Math.min(wanted ?? Infinity, possible);
  return Number.isFinite(limit) ? limit : undefined;
}

/** Loads TLS on demand, because a worker without it starts faster. */
async function secure({ leg, peer, handshakeMs, probe }: RelayTls, reasons: Reasons): Promise<TcpSecurity> {
  const { TlsClient, TlsServer } = await import('./secure.js');
  return leg === 'listeners'
    ? { listeners: new TlsServer(handshakeMs, reasons, probe) }
    : { targets: new TlsClient(peer, reasons) };
}

process.umask(0o177);
process.on('uncaughtException', (error) => die(70, error));
process.removeAllListeners('warning').on('warning', (warning) => report(String(warning)));
process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
main(process.argv[2]).catch((error: unknown) => die(1, error));
