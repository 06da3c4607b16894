import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Daemon } from './daemon.js';

const SCRIPT = fileURLToPath(new URL('../../../test/e2e/python_client.py', import.meta.url));
/** Debian's Python, whose grpcio is what the existing programs use. */
const PYTHON = '/usr/bin/python3';

/** The Python client's form of a `Response`, or of the status of a failed call. */
export interface Answer {
  readonly listeners: readonly string[];
  readonly prod_listeners: readonly string[];
  readonly error?: string;
  readonly details?: string;
  readonly trailing?: Readonly<Record<string, string>>;
}

export interface SetUpAnswer {
  readonly req: Answer;
  readonly hello: Answer;
  readonly seconds: number;
}

/** The Python client in its own process. It runs one command at a time. */
export class PythonClient implements AsyncDisposable {
  readonly #lines: AsyncIterator<string>;
  #stderr = '';

  private constructor(private readonly child: ChildProcess & { readonly stdout: NodeJS.ReadableStream }) {
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stderr?.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
  }

  /** Starts it with a channel to each server, by name. */
  static async start(servers: Readonly<Record<string, Daemon>>): Promise<PythonClient> {
    const child = spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] });
    const client = new PythonClient(child);
    for (const [server, { address, certificate }] of Object.entries(servers)) {
      await client.ask({ op: 'connect', server, address, certificate });
    }
    return client;
  }

  /** Runs one operation of python_client.py. */
  async ask<T = Answer>(command: { readonly op: string; readonly [key: string]: unknown }): Promise<T> {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error(`the Python client ended: ${this.#stderr}`);
    return JSON.parse(line.value) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }
}
