import { randomBytes } from 'node:crypto';
import { quote, type ExecResult } from '@scistream/core';
import type { JanusController } from './controller.js';
import { failed } from './failures.js';
import { RUN, STATUS } from './scripts.js';

/** A container as Janus addresses it. */
export interface Container {
  readonly session: number;
  readonly node: string;
  readonly id: string;
}

/** What the program of a container does. */
export type ProgramStatus =
  { readonly status: 'created' | 'running' } | { readonly status: 'exited'; readonly code: number };

/** Exit code of a program that was ended by SIGKILL, as `timeout` does. */
const KILLED = 137;
/** Runs commands in containers, through POST /exec, which tells neither exit codes nor standard error apart. */
export class Shell {
  /** Runs whose answers have arrived, so that their traces in a container may go. */
  readonly #finished = new Map<string, string[]>();

  constructor(
    private readonly controller: JanusController,
    /** Until a request counts as failed, ms, besides what a command itself takes. */
    private readonly timeoutMs: number,
  ) {}

  /**
   * Runs a command in the instance's directory, exactly once whatever becomes of requests and answers.
   * @throws JanusRefusal, and S2DSException SCI_RUNTIME_FAILED also when it did not end in time
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
    if (exitCode === KILLED) throw failed(`${command[0]} was killed, or did not end in ${timeoutMs} ms`, 'Try again.');
    return { exitCode, stdout: decode(stdout), stderr: decode(stderr) };
  }

  /** As {@link run}, for a script of ours that has no reason to fail. @throws SCI_RUNTIME_FAILED with what it wrote */
  async script(container: Container, text: string, args: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const result = await this.run(container, ['sh', '-c', text, 'sh', ...args], timeoutMs);
    if (result.exitCode === 0 || result.exitCode === 3 || result.exitCode === 127) return result;
    throw failed(
      `A command in a container on node ${container.node} failed: ${quote(result.stderr || result.stdout)}`,
      'The image must have sh, base64, timeout, sleep and sha256sum.',
    );
  }

  /** Asks what the program does. Changes nothing, and is tried as often as `retries` says. */
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

  /** A container that is gone needs no more bookkeeping. */
  forget(container: Container): void {
    this.#finished.delete(container.id);
  }
}

/**
 * The line that answers, out of all that came back. Without a terminal Docker puts 8 bytes before each piece (stream, 0, 0,
 * 0, length), which Janus passes on as if they were text; with one, lines end with CR LF.
 */
function answerIn(text: string, nonce: string): string {
  const plain = text.replace(FRAME, '');
  const found = new RegExp(`scistream:${nonce}:([\\s\\S]*?):end`).exec(plain)?.[1];
  if (found === undefined) throw unreadable(plain);
  return found.replace(/[\r\n]/g, '');
}

const FRAME = new RegExp('[\\u0001\\u0002]\\u0000{3}[\\s\\S]{4}', 'g');

const decode = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');

/** What came back is not what our scripts print: the container ended meanwhile, or its image lacks a program. */
class Unreadable extends Error {}

const unreadable = (text: string): Error => new Unreadable(`a command in it answered ${quote(text)}`);
