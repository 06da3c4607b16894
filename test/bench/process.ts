import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { systemCode, within } from '@scistream/core';

/** Generous, because fifty containers start at the same time. */
const ANSWER_MS = 300_000;
/** A gateway first ends its proxies, each within its grace period. */
const END_MS = 15_000;
/** `utime` and `stime` of proc_pid_stat(5) count in USER_HZ, which is 100 on every architecture of Node.js. */
const TICK_SECONDS = 0.01;

/** The end of a program. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Kills it when `signal` aborts (and throws the reason) or after `timeoutMs`. */
export async function run(
  [command = '', ...args]: readonly string[],
  { signal, timeoutMs = 10_000 }: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
): Promise<Outcome> {
  signal?.throwIfAborted();
  // A separate process group: Ctrl-C reaches only this program, which then ends the others in order.
  const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs });
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const [stdout, stderr, [code, by]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>,
    ]);
    signal?.throwIfAborted();
    return { code, signal: by, stdout, stderr };
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

/** As {@link run}, for a command that must succeed. @returns Its stdout, trimmed. */
export async function succeed(command: readonly string[], signal?: AbortSignal): Promise<string> {
  const { code, signal: by, stdout, stderr } = await run(command, signal ? { signal } : {});
  if (code !== 0) throw new Error(`${command.join(' ')}: ${by ?? `exit code ${code}`}: ${(stderr || stdout).trim()}`);
  return stdout.trim();
}

/** Whether a command runs and exits with 0. */
export async function works(command: readonly string[]): Promise<boolean> {
  return await run(command).then(
    ({ code }) => code === 0,
    () => false,
  );
}

/** A program that runs during the measurements, until it is disposed of. */
export class Program implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(
    command: readonly string[],
    options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly name?: string } = {},
  ) {
    const [executable = '', ...args] = command;
    const { cwd, env } = options;
    this.#name = options.name ?? executable;
    this.#child = spawn(executable, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const { stdin, stdout, stderr } = this.#child;
    if (!stdin || !stdout || !stderr) throw new Error('no pipes');
    // The caller that waits for an answer detects the end of the program.
    stdin.on('error', () => undefined);
    this.#child.on('error', (error) => (this.#errors += `${error.message}\n`));
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
    stderr.on('data', (chunk: Buffer) => (this.#errors = `${this.#errors}${chunk.toString()}`.slice(-4000)));
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} cannot be started: ${this.#errors}`);
    return pid;
  }

  /** The end of its stderr. */
  get errors(): string {
    return this.#errors.trim();
  }

  /** The next line of its stdout. @throws If it ends or prints nothing for two minutes. */
  async line(): Promise<string> {
    const late = (): Error => new Error(`${this.#name} printed nothing: ${this.#errors}`);
    const line = await within(this.#lines.next(), ANSWER_MS, late);
    if (line.done) throw new Error(`${this.#name} has ended: ${this.#errors}`);
    return line.value;
  }

  /** Sends a line of JSON and returns the parsed answer. One request at a time. */
  async ask<Answer>(request: object): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    return JSON.parse(await this.line()) as Answer;
  }

  /** Kills the program and waits for its end. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Ends the program with SIGTERM, kills it if it does not end, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await within(ended, END_MS, () => new Error('late')).catch(() => {
      child.kill('SIGKILL');
      return ended;
    });
  }
}

/**
 * CPU time of processes so far, all threads, user and system, in seconds. A process that has ended counts zero: an old
 * worker of nginx, from before the first targets, may end at any time and has carried nothing.
 */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const stat = statOf(pid);
    if (stat === undefined) return sum;
    // The name in parentheses may contain anything, so fields count from the last ')': utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) * TICK_SECONDS;
  }, 0);
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) * 1024;
}

/** Open file descriptors of a process. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function statOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ESRCH') return undefined;
    throw error;
  }
}
