import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRenderer, formatAddress, poll, type StreamTls } from '@scistream/core';
import { processesBelow } from '../support/leftovers.js';
import { freeRange, listeningIn } from '../support/ports.js';
import { newDirectory, type Bench } from './bench.js';
import { LOOPBACK, type Forwarder } from './forwarders.js';
import { cpuSeconds, Program } from './process.js';

const READY_MS = 30_000;
const SOURCES = fileURLToPath(new URL('../../../test/bench/', import.meta.url));
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** Threads or workers of the proxy. */
const THREADS = Math.min(availableParallelism(), 4);

/** Programs with a configuration written by hand, in `hand-tuned/`. */
const PROGRAMS = {
  haproxy: { title: 'HAProxy', config: 'haproxy.cfg', command: ['haproxy', '-db', '-f'] },
  nginx: { title: 'Nginx', config: 'nginx.conf', command: ['nginx', '-p', '.', '-e', 'stderr', '-c'] },
  stunnel: { title: 'stunnel', config: 'stunnel.conf', command: ['stunnel'] },
} as const;

/** The programs that can be configured by hand. */
export type HandTuned = keyof typeof PROGRAMS;

/** One end of the encrypted leg: `server` is on the producer's side. */
export interface Encrypted {
  readonly end: 'server' | 'client';
  readonly tls: StreamTls;
}

/** A proxy as an expert configures it for throughput only. */
export function handTuned(bench: Bench, proxy: HandTuned, encrypted?: Encrypted): Forwarder {
  const { title, config, command } = PROGRAMS[proxy];
  const name = `${title}, hand-tuned`;
  return {
    name,
    async start(targets) {
      const range = await freeRange(targets.length);
      const entries = targets.map((_, i) => ({ host: LOOPBACK, port: range.first + i }));
      const cwd = await directoryFor(bench, encrypted?.tls);
      const text = createRenderer([join(SOURCES, 'hand-tuned')]).render(`${config}.njk`, {
        threads: THREADS,
        module: existsSync(NGINX_STREAM) ? NGINX_STREAM : '',
        tls: encrypted?.end ?? '',
        peer: encrypted?.tls.peer ?? '',
        ways: entries.map((entry, i) => ({ listen: formatAddress(entry), target: formatAddress(targets[i] ?? entry) })),
      });
      await writeFile(join(cwd, config), text, { mode: 0o600 });
      const program = new Program([...command, config], { cwd, name });
      const all = async (): Promise<true | undefined> =>
        (await listeningIn(range)).length === targets.length || undefined;
      const late = (): Error => new Error(`${name} does not listen: ${program.errors}`);
      try {
        await poll(all, { timeoutMs: READY_MS, signal: bench.signal }, late);
        const end = (): Promise<void> => program[Symbol.asyncDispose]();
        return { entries, cpuSeconds: await inDirectory(cwd), [Symbol.asyncDispose]: end };
      } catch (error) {
        await program[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

/** The baseline of the relay, pipe.js. */
export function barePipe(bench: Bench, encrypted?: Encrypted): Forwarder {
  return {
    name: encrypted ? 'Node TLS pipe' : 'Node pipe',
    async start(targets) {
      const cwd = await directoryFor(bench, encrypted?.tls);
      const where = [LOOPBACK, encrypted?.end ?? 'plain', ...targets.map(formatAddress)];
      const program = new Program([process.execPath, join(SOURCES, 'pipe.js'), ...where], {
        cwd,
        env: { ...process.env, PEER: encrypted?.tls.peer },
        name: 'pipe.js',
      });
      const ports = JSON.parse(await program.line()) as number[];
      return {
        entries: ports.map((port) => ({ host: LOOPBACK, port })),
        cpuSeconds: () => cpuSeconds([program.pid]),
        [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
      };
    },
  };
}

/** A working directory, with the credentials if there are any. */
async function directoryFor(bench: Bench, tls?: StreamTls): Promise<string> {
  const directory = await newDirectory(bench, 'hand-tuned');
  if (!tls) return directory;
  const { certificate, key, ca } = tls;
  const files = { 'certificate.pem': certificate, 'key.pem': key, 'ca.pem': ca, 'both.pem': `${certificate}\n${key}` };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text, { mode: 0o600 });
  return directory;
}

/** CPU time of the processes that work in a directory now. */
async function inDirectory(directory: string): Promise<() => number> {
  const pids = await processesBelow(directory);
  return () => cpuSeconds(pids);
}
