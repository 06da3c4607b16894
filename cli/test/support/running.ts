import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ChildProcess } from 'node:child_process';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';

const PATIENCE_MS = 60_000;

/** Log messages of a reload. */
export const IN_FORCE = /configuration reloaded/;
export const NOTHING_CHANGED = /configuration reload rejected/;

/** A daemon with a log that tests can wait for. */
export class Running implements AsyncDisposable {
  readonly #lines: string[] = [];

  constructor(readonly child: ChildProcess) {
    if (!child.stderr) throw new Error('no stderr');
    createInterface(child.stderr).on('line', (line) => this.#lines.push(line));
  }

  get log(): string {
    return this.#lines.join('\n');
  }

  /** Sends SIGHUP and waits for another log line that matches `text`. @returns the `error` of that line */
  async reload(text: RegExp): Promise<string> {
    const before = this.#lines.filter((line) => text.test(line)).length;
    this.child.kill('SIGHUP');
    return await this.says(text, before + 1);
  }

  async says(text: RegExp, times = 1): Promise<string> {
    const found = (): readonly string[] => this.#lines.filter((line) => text.test(line));
    await eventually(() => assert.ok(found().length >= times, this.log), PATIENCE_MS);
    const { error = '' } = JSON.parse(found().at(-1) ?? '') as { error?: string };
    return error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exit;
  }
}
