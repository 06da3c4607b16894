import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { within } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';

/** Root of the repository, relative to `.build/cli/test/support`. */
export const REPOSITORY = fileURLToPath(new URL('../../../../', import.meta.url));

/** Output and exit code of a command. */
export interface Result {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An empty home directory for commands; call `remove` at the end. */
export class Home {
  private constructor(
    /** Working directory of the commands; all their folders are below it. */
    readonly path: string,
    readonly remove: () => Promise<void>,
    private readonly prefix: readonly string[] = [],
  ) {}

  static async create(): Promise<Home> {
    const directory = await temporaryDirectory();
    return new Home(directory.path, () => directory.remove());
  }

  /** The same home for commands that run elsewhere, such as in a network namespace. @param prefix Wrapper command */
  in(prefix: readonly string[]): Home {
    return new Home(this.path, this.remove, prefix);
  }

  get data(): string {
    return join(this.path, 'data');
  }

  /** Starts a program of `cli/bin`. */
  start(bin: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(SCISTREAM_(?!TEST_)|XDG_|NO_COLOR)/.test(name),
    );
    const own = {
      SCISTREAM_DATA_DIR: this.data,
      SCISTREAM_CONFIG_DIR: join(this.path, 'config'),
      SCISTREAM_CACHE_DIR: join(this.path, 'cache'),
      XDG_STATE_HOME: join(this.path, 'state'),
    };
    const [program = '', ...rest] = [...this.prefix, process.execPath, join(REPOSITORY, 'cli', 'bin', bin), ...args];
    return spawn(program, rest, {
      cwd: this.path,
      env: { ...Object.fromEntries(inherited), ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Runs `scistream` with these arguments until it exits. */
  run(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Result> {
    return resultOf(this.start('run.js', args, env));
  }

  /** Runs a command with `--json` that must succeed, and parses its output. */
  async json(...args: readonly string[]): Promise<unknown> {
    const { exitCode, stdout, stderr } = await this.run([...args, '--json']);
    if (exitCode !== 0) throw new Error(`${args.join(' ')} exited with ${exitCode}: ${stdout}${stderr}`);
    return JSON.parse(stdout);
  }

  /** Runs a command with `--json` that must fail. */
  async failure(
    ...args: readonly string[]
  ): Promise<{ exitCode: number | null; code: string; message: string; suggestions: string[] }> {
    const { exitCode, stdout } = await this.run([...args, '--json']);
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string; suggestions: string[] } };
    return { exitCode, ...error };
  }
}

/** Less than the time that the runner grants a file: a program that hangs is named, with its threads. */
const EXIT_LIMIT_MS = 120_000;

/** Waits for the exit of a program and collects its output. */
export async function resultOf(child: ChildProcess): Promise<Result> {
  if (!child.stdout || !child.stderr) throw new Error('stdout and stderr are not pipes');
  const ended = once(child, 'close') as Promise<[number | null]>;
  const result = Promise.all([text(child.stdout), text(child.stderr), ended]);
  const [stdout, stderr, [exitCode]] = await within(result, EXIT_LIMIT_MS, () => hanging(child));
  return { exitCode, stdout, stderr };
}

/** Ends a program that hangs. @returns the error that names it, and what its threads wait for */
function hanging(child: ChildProcess): Error {
  const tasks = `/proc/${child.pid}/task`;
  const threads = existsSync(tasks)
    ? readdirSync(tasks).map((id) =>
        ['comm', 'wchan'].map((file) => readFileSync(join(tasks, id, file), 'utf8').trim()),
      )
    : 'none';
  child.kill('SIGKILL');
  return new Error(
    `${child.spawnargs.join(' ')} has not ended after ${EXIT_LIMIT_MS} ms; threads: ${threads.toString()}`,
  );
}

/** The next line a program prints on stdout. */
export async function nextLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('stdout is not a pipe');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return line;
}
