/**
 * The relay worker: forwards bytes between listeners and targets until it is told to stop. Started by a container
 * runtime as `node worker.js relay.json` in the instance's private directory; see protocol.ts for what it reads and
 * answers. It outlives its parent. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start, 70 defect.
 * Imports nothing but Node's own modules and its siblings, because its start is part of the set-up time of a stream, and
 * because program.ts copies it alone into containers, where it is process 1: no signal has a default effect there.
 */
import { readFileSync, rmSync, writeSync } from 'node:fs';
import { serveControl } from './control.js';
import type { Listener } from './listener.js';
import { parseConfig } from './parse.js';
import { CONTROL_SOCKET, inForce, type RelayConfig, type RelayTls } from './protocol.js';
import { Sources } from './sources.js';
import { TcpListener, type TcpSecurity } from './tcp.js';
import { UdpListener } from './udp.js';

/** One line on stderr. Written directly: the stream would turn a closed stderr into an exception. */
function report(text: string): void {
  try {
    writeSync(2, `scistream relay: ${text}\n`);
  } catch {
    // stderr is gone (EPIPE) or full: forwarding matters more than the message.
  }
}

function die(code: 1 | 70, reason: unknown): never {
  if (reason instanceof Error) report(code === 70 ? (reason.stack ?? reason.message) : reason.message);
  else report(String(reason));
  process.exit(code);
}

async function main(file: string | undefined): Promise<void> {
  if (file === undefined) throw new Error('the start file is missing; usage: worker.js relay.json');
  const read = (): RelayConfig => parseConfig(readFileSync(file, 'utf8'));
  const config = read();
  const security = config.tls && (await secure(config.tls));
  const sources = config.sources && new Sources(config.sources);
  const listeners = config.listeners.map((address, i) => {
    const listener =
      config.transport === 'tcp'
        ? new TcpListener(address, config, security, sources)
        : new UdpListener(address, config.udpSessionMs, sources);
    listener.retarget(config.targets[i]);
    return listener;
  });
  await Promise.all(listeners.map((listener) => listener.listen()));
  if (config.revision !== undefined) {
    process.on('SIGHUP', () => follow(read, listeners));
    report(inForce(config.revision));
    return;
  }
  // The terminal the parent was started from may close; that is no reason to stop.
  process.on('SIGHUP', () => undefined);
  await serveControl(listeners);
  process.on('exit', () => rmSync(CONTROL_SOCKET, { force: true }));
}

/** Uses the targets of the start file as it is now; what is wrong with it changes nothing. */
function follow(read: () => RelayConfig, listeners: readonly Listener[]): void {
  try {
    const { targets, revision = '' } = read();
    listeners.forEach((listener, i) => listener.retarget(targets[i]));
    report(inForce(revision));
  } catch (error) {
    report(error instanceof Error ? error.message : String(error));
  }
}

/** Loads TLS for a worker that needs it; the others start faster without. */
async function secure({ leg, peer, handshakeMs }: RelayTls): Promise<TcpSecurity> {
  const { TlsClient, TlsServer } = await import('./secure.js');
  return leg === 'listeners' ? { listeners: new TlsServer(handshakeMs) } : { targets: new TlsClient(peer) };
}

process.umask(0o177);
process.on('uncaughtException', (error) => die(70, error));
process.removeAllListeners('warning').on('warning', (warning) => report(String(warning)));
process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
main(process.argv[2]).catch((error: unknown) => die(1, error));
