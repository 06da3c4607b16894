import { randomBytes } from 'node:crypto';
import { formatDuration, quote, type ExecResult } from '@scistream/core';
import type { JanusController } from './controller.js';
import { failed } from './failures.js';
import { RUN, STATUS } from './scripts.js';

/** The address of a container in Janus. */
export interface Container {
  readonly session: number;
  readonly node: string;
  readonly id: string;
}

/** State of the program in a container. */
export type ProgramStatus =
  { readonly status: 'created' | 'running' } | { readonly status: 'exited'; readonly code: number };

/** Exit code of a program killed by SIGKILL, also by `timeout`. */
const KILLED = 137;

/** Runs commands in containers through POST /exec, which returns neither exit codes nor a separate standard error. */
export class Shell {
  /** Runs whose answers have arrived. Their files in the container can be removed. */
  readonly #finished = new Map<string, string[]>();

  constructor(
    private readonly controller: JanusController,
    /** Deadline of a request besides the duration of the command, ms. */
    private readonly timeoutMs: number,
  ) {}

  /**
   * Runs a command in the instance's directory exactly once, even if requests or answers are lost.
   * @throws JanusRefusal; S2DSException SCI_RUNTIME_FAILED, also if the command exceeds its deadline
   */
  async run(container: Container, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const nonce = randomBytes(8).toString('hex');
    const seconds = String(Math.max(1, Math.ceil(timeoutMs / 1000)));
    const finished = this.#finished.get(container.id) ?? [];
    const old = finished.join(' ');
    const script = ['sh', '-c', RUN, 'sh', nonce, seconds, old, ...command];
    const how = { timeoutMs: timeoutMs + this.timeoutMs };
    const text = await this.controller.exec(container.node, container.id, script, how);
    const [code = '', stdout = '', stderr = ''] = answerIn(text, nonce).split(':');
    this.#finished.set(container.id, [...finished.filter((nonce) => !old.includes(nonce)), nonce]);
    const exitCode = Number(code);
    if (exitCode === KILLED)
      throw failed(`${command[0]} was killed or did not end within ${formatDuration(timeoutMs)}`, 'Try again.');
    return { exitCode, stdout: decode(stdout), stderr: decode(stderr) };
  }

  /** Like {@link run}, for the scripts of this plugin. @throws SCI_RUNTIME_FAILED with the output of a failed script */
  async script(container: Container, text: string, args: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const result = await this.run(container, ['sh', '-c', text, 'sh', ...args], timeoutMs);
    if (result.exitCode === 0 || result.exitCode === 3 || result.exitCode === 127) return result;
    throw failed(
      `A command in a container on node ${container.node} failed: ${quote(result.stderr || result.stdout)}`,
      'Use an image that has sh, base64, timeout, sleep and sha256sum.',
    );
  }

  /** Queries the state of the program. Changes nothing, and is retried as often as `retries` says. */
  async status(container: Container, retries?: number, signal?: AbortSignal): Promise<ProgramStatus> {
    const nonce = randomBytes(8).toString('hex');
    const text = await this.controller.exec(container.node, container.id, ['sh', '-c', STATUS, 'sh', nonce], {
      ...(retries === undefined ? {} : { retries }),
      ...(signal ? { signal } : {}),
    });
    const answer = answerIn(text, nonce);
    const code = /^exited (\d+)$/.exec(answer)?.[1];
    if (code !== undefined) return { status: 'exited', code: Number(code) };
    if (answer === 'created' || answer === 'running') return { status: answer };
    throw unreadable(text);
  }

  /** Drops the records of a removed container. */
  forget(container: Container): void {
    this.#finished.delete(container.id);
  }
}

/**
 * Extracts the answer from the output. Without a terminal, Docker prefixes each chunk with 8 bytes (stream, three
 * zeros, length), and Janus passes them on as text. With a terminal, lines end with CR LF.
 */
function answerIn(text: string, nonce: string): string {
  const plain = text.replace(FRAME, '');
  const found = new RegExp(`scistream:${nonce}:([\\s\\S]*?):end`).exec(plain)?.[1];
  if (found === undefined) throw unreadable(plain);
  return found.replace(/[\r\n]/g, '');
}

const FRAME = new RegExp('[\\u0001\\u0002]\\u0000{3}[\\s\\S]{4}', 'g');

const decode = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');

/** The output is not that of the script: the container ended, or its image lacks a program. */
class Unreadable extends Error {}

const unreadable = (text: string): Error => new Unreadable(`a command in it answered ${quote(text)}`);
