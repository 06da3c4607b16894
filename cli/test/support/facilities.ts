import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../../../cli/bin/', import.meta.url));

/** Exit code and output of a command. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running control server. */
export interface Daemon {
  /** host:port */
  readonly address: string;
  readonly fingerprint: string;
  /** The log so far; empty without `verbose`. */
  logged(): string;
  stop(): Promise<void>;
}

/** Options of a test; `net` is the prefix of the facilities' addresses, `127.x.y`. */
export interface Setting {
  /** Key `auth` of the configuration of aps; default: anyone. */
  readonly auth?: readonly object[];
  /** Whether the control servers log everything. */
  readonly verbose?: boolean;
  /** More keys for the configuration of a control server and for its gateway. */
  readonly daemon?: (
    facility: 'aps' | 'alcf',
    net: string,
  ) => { readonly gateway?: object; readonly [key: string]: unknown };
  /** More environment variables for everything. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Two control servers on separate loopback addresses, and a home for the client. */
export interface Facilities {
  readonly aps: Daemon;
  readonly alcf: Daemon;
  /** Loopback address for producers. */
  readonly host: string;
  readonly dir: string;
  readonly config: string;
  readonly env: NodeJS.ProcessEnv;
  stop(): Promise<void>;
}

/** Ten listeners each, on addresses that other programs are unlikely to use. */
export async function startFacilities(setting: Setting = {}): Promise<Facilities> {
  const dir = await mkdtemp(join(tmpdir(), 'stream-e2e-'));
  const at = (name: string): string => join(dir, name);
  const home = { SCISTREAM_STATE_DIR: at('state'), SCISTREAM_DATA_DIR: at('data'), SCISTREAM_CACHE_DIR: at('cache') };
  const env = { ...process.env, ...home, SCISTREAM_CONFIG_DIR: at('config'), NO_COLOR: '1', ...setting.env };
  const net = `127.${50 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`;
  const [aps, alcf] = await Promise.all([
    startDaemon('aps', `${net}.1`, dir, env, { ...setting.daemon?.('aps', net), auth: setting.auth ?? [] }, setting),
    startDaemon('alcf', `${net}.2`, dir, env, { ...setting.daemon?.('alcf', net) }, setting),
  ]);
  const config = at('s2uc.yaml');
  const facilities = { aps: trusted(aps), alcf: trusted(alcf) };
  await writeFile(
    config,
    JSON.stringify({ facilities, streams: { tomo: { from: 'aps', to: 'alcf', connections: 2 } } }),
  );
  const stop = async (): Promise<void> => {
    await Promise.all([aps.stop(), alcf.stop()]);
    await rm(dir, { recursive: true, force: true });
  };
  return { aps, alcf, host: `${net}.3`, dir, config, env, stop };
}

const trusted = ({ address, fingerprint }: Daemon): object => ({ s2cs: address, fingerprint });

async function startDaemon(
  facility: string,
  host: string,
  dir: string,
  env: NodeJS.ProcessEnv,
  { gateway: more, ...keys }: { readonly gateway?: object; readonly [key: string]: unknown },
  { verbose = false }: Setting,
): Promise<Daemon> {
  const file = join(dir, `${facility}.conf`);
  const gateway = { name: `${facility}-gw`, wan: host, lan: host, ports: '5100-5109', ...more };
  const config = {
    facility,
    listen: `${host}:5000`,
    state: join(dir, facility),
    encryption: 'optional',
    ...keys,
    gateways: [gateway],
  };
  await writeFile(file, JSON.stringify(config));
  const args = ['--json', verbose ? '--verbose' : '--quiet', '--release-on-exit', '--config', file];
  const child = spawn(process.execPath, [join(BIN, 's2cs.js'), ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (verbose) log += text;
    else process.stderr.write(text);
  });
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`s2cs ${facility} did not start`)));
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
  ended.catch(() => undefined);
  const { listen, fingerprint } = JSON.parse(line) as { listen: string; fingerprint: string };
  return { address: listen, fingerprint, logged: () => log, stop: () => terminate(child) };
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

/** Starts `run.js` (`scistream`) or `s2uc.js` with `input` on its standard input; `interrupt` sends SIGINT. */
export function start(facilities: Facilities, program: 'run' | 's2uc', args: readonly string[], input = '') {
  const child = spawn(process.execPath, [join(BIN, `${program}.js`), ...args], { env: facilities.env, stdio: 'pipe' });
  child.stdin.end(input);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const outcome = once(child, 'close').then(([code]): Outcome => ({ code: code as number | null, stdout, stderr }));
  return { outcome, child, interrupt: () => child.kill('SIGINT'), lines: createInterface({ input: child.stdout }) };
}

/** Runs a command of `scistream` with the configuration of the facilities. */
export const scistream = (facilities: Facilities, ...args: string[]): Promise<Outcome> =>
  start(facilities, 'run', [...args, '--config', facilities.config]).outcome;

/** Runs a command with `--json`. @returns The document on stdout. */
export async function json<T>(facilities: Facilities, expected: number, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await scistream(facilities, ...args, '--json');
  if (code !== expected) throw new Error(`${args.join(' ')} exited with ${code}, not ${expected}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

/** A test that fails if a stream or a file of the journal is left at its end. Cleans up in any case. */
export const leavesNothing =
  <C extends { readonly facilities: Facilities }>(run: (context: C) => Promise<void>) =>
  async (context: C): Promise<void> => {
    let left: readonly string[] = [];
    try {
      await run(context);
    } finally {
      left = await cleanUp(context.facilities);
    }
    if (left.length > 0) throw new Error(`the test left ${left.join(', ')}`);
  };

/** Releases the streams that a test left. @returns Their uids and the files of the journal. */
export async function cleanUp(facilities: Facilities): Promise<readonly string[]> {
  const { streams } = await json<{ streams: { uid: string }[] }>(facilities, 0, 'stream', 'ls');
  const journal = await readdir(join(facilities.dir, 'state', 'scistream', 'streams')).catch(() => []);
  const uids = streams.map(({ uid }) => uid);
  if (uids.length > 0) await json(facilities, 0, 'stream', 'down', ...uids);
  return [...uids, ...journal];
}

/** A producer that greets every connection with its name and echoes all data. */
export class Producer {
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(name: string) {
    this.#server = createServer((socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => this.#sockets.delete(socket));
      socket.write(name);
      socket.pipe(socket);
    });
  }

  static async start(host: string, name: string): Promise<Producer> {
    const producer = new Producer(name);
    producer.#server.listen(0, host);
    await once(producer.#server, 'listening');
    return producer;
  }

  /** host:port */
  get address(): string {
    const bound = this.#server.address();
    if (typeof bound !== 'object' || bound === null) throw new Error('the producer is not listening');
    return `${bound.address}:${bound.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}

/** Connects as a consumer, sends `say`, and reads the greeting of the producer; fails if the connection ends without one. */
export async function greeting(address: string, say = ''): Promise<{ readonly text: string; readonly socket: Socket }> {
  const [host, port] = address.split(':');
  const socket = connect({ host, port: Number(port) });
  if (say !== '') socket.write(say);
  const closed = once(socket, 'close').then(() => Promise.reject(new Error(`${address} closed the connection`)));
  closed.catch(() => undefined);
  const [data] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer];
  return { text: data.toString(), socket };
}
