import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ANSWER_TIMEOUT_MS = 30_000;

const cli = (name: string): string =>
  fileURLToPath(new URL(`./bin/${name}`, import.meta.resolve('@scistream/cli/package.json')));
const example = (name: string): string =>
  fileURLToPath(new URL(`./dist/${name}.js`, import.meta.resolve('@scistream/example-producer-consumer/package.json')));

/** The programs of the demo, by the file that a user would start. */
export const PROGRAMS = {
  s2cs: cli('s2cs.js'),
  scistream: cli('run.js'),
  producer: example('producer'),
  consumer: example('consumer'),
} as const;

/** A program that runs beside the demo. */
export class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<number>;
  #errors = '';

  constructor(
    readonly name: keyof typeof PROGRAMS,
    args: readonly string[],
    options: { readonly env: NodeJS.ProcessEnv; readonly onError?: (line: string) => void },
  ) {
    this.#child = spawn(process.execPath, [PROGRAMS[name], ...args], {
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr) throw new Error('no pipes');
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
    createInterface(stderr).on('line', (line) => {
      this.#errors = `${this.#errors}${line}\n`.slice(-4000);
      options.onError?.(line);
    });
    this.#exit = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : -1));
  }

  /** Parses the next line of stdout. @throws if the program ends or does not answer in time */
  async answer<T>(): Promise<T> {
    const timeout = setTimeout(() => this.#child.kill('SIGKILL'), ANSWER_TIMEOUT_MS);
    try {
      const line = await this.#lines.next();
      const text = line.done ? '' : line.value;
      // Errors are JSON documents of several lines.
      if (!text.endsWith('}'))
        throw new Error(`${this.name} did not start:\n${readable(text + (await this.#rest()))}${this.#errors}`);
      return JSON.parse(text) as T;
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Parses the whole stdout after the program has ended. @throws if its exit code is not 0 */
  async result<T>(): Promise<T> {
    const text = await this.#rest();
    const code = await this.#exit;
    if (code !== 0) throw new Error(`${this.name} ended with ${code}:\n${readable(text)}${this.#errors}`);
    return JSON.parse(text) as T;
  }

  async #rest(): Promise<string> {
    let text = '';
    for (let line = await this.#lines.next(); !line.done; line = await this.#lines.next()) text += `${line.value}\n`;
    return text;
  }

  /** Sends SIGTERM and waits for the end. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGTERM');
    await this.#exit;
  }
}

/** The message and suggestions of a `--json` error; any other text unchanged. */
function readable(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error: { message: string; suggestions: readonly string[] } };
    return [error.message, ...error.suggestions.map((suggestion) => `Try: ${suggestion}`), ''].join('\n');
  } catch {
    return `${text}\n`;
  }
}
