import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  LABELS,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerSpec,
} from '../contracts/container-runtime.js';
import { within } from '../contracts/wait.js';
import type { OpenRuntime, RuntimeFixture } from './runtime-fixture.js';
import { eventually, temporaryDirectory } from './support.js';

const LIMIT_MS = 120_000;
/** A runtime may have to pull an image or boot a machine. */
const READY_MS = 20_000;

/** A shell in a runtime. */
export interface TestProgram {
  /** For runtimes with images: an image that contains the programs below. */
  readonly image: string;
  /** A POSIX shell that takes `-c`, for example `sh`. */
  readonly executable: string;
  /** Serves the unix socket `x.sock` and sends `hello` to every client; required with `supports.dial`. */
  readonly server?: { readonly executable: string; readonly args: readonly string[] };
}

/** Keeps a shell idle but responsive to signals. */
const WAIT = 'while :; do sleep 0.05; done';

/**
 * The scripts of the contract, exported so that a runtime without a shell can recognize them. Not a stable interface.
 */
export const RUNTIME_SCRIPTS = {
  /** Ends with 3 on SIGUSR1, prints `told` on SIGUSR2. */
  waits: `trap 'echo asked; exit 3' USR1; trap 'echo told' USR2; echo ready; ${WAIT}`,
  /** Prints `asked` on SIGUSR1 and keeps running. */
  stubborn: `trap 'echo asked' USR1; echo ready; ${WAIT}`,
  /** Ends with 7. */
  fails: 'echo out; echo err >&2; exit 7',
  counts: `i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; echo ready; ${WAIT}`,
  /** Prints a.cfg. */
  reads: `cat a.cfg; echo; echo ready; ${WAIT}`,
  /** Prints `torn` when big.cfg is incomplete. */
  watches: 'echo ready; while :; do n=$(wc -c < big.cfg); [ "$n" -eq 65536 ] || echo "torn $n"; done',
  /** Prints `inherited` when descriptor 3 is a socket. */
  inherits: `[ -S /proc/$$/fd/3 ] && echo inherited; echo ready; ${WAIT}`,
  /** For exec: prints a.cfg, writes to standard error, and ends with 5. */
  complains: 'cat a.cfg; echo bad >&2; exit 5',
  /** For exec: long listing of a.cfg. */
  lists: 'ls -l a.cfg',
  /** For exec: does not end in time. */
  sleeps: 'sleep 30',
} as const;

/** A runtime for one test, and the instances that the test created. */
export class RuntimeEnvironment {
  /** Label that all instances of this test have, and no others. */
  readonly label = { [LABELS.gateway]: randomUUID() };
  readonly #made: ContainerRef[] = [];

  private constructor(
    readonly open: OpenRuntime,
    private readonly program: TestProgram,
  ) {}

  static async in(
    fixture: RuntimeFixture,
    program: TestProgram,
    test: (env: RuntimeEnvironment) => Promise<void>,
  ): Promise<void> {
    await using directory = await temporaryDirectory();
    const env = new RuntimeEnvironment(await fixture.open(join(directory.path, 'instances')), program);
    const [tested] = await Promise.allSettled([
      within(test(env), LIMIT_MS, () => new Error(`not done in ${LIMIT_MS} ms`)),
    ]);
    const [cleaned] = await Promise.allSettled([env.#clean()]);
    await env.open.close();
    for (const result of [tested, cleaned]) if (result.status === 'rejected') throw result.reason;
  }

  get runtime(): ContainerRuntime {
    return this.open.runtime;
  }

  /** A program; by default it runs until SIGUSR1. */
  spec(script: keyof typeof RUNTIME_SCRIPTS = 'waits', more: Partial<ContainerSpec> = {}): ContainerSpec {
    const uid = randomUUID();
    const labels = {
      [LABELS.managed]: 'true',
      ...this.label,
      [LABELS.serverId]: 'test',
      [LABELS.uid]: uid,
      [LABELS.role]: 'PROD',
      [LABELS.proxy]: 'shell',
      [LABELS.specHash]: 'hash',
    };
    return {
      name: `scistream-${uid.slice(0, 8)}-0`,
      image: this.program.image,
      executable: this.program.executable,
      args: ['-c', RUNTIME_SCRIPTS[script]],
      files: { 'a.cfg': 'content of a' },
      labels,
      sockets: [],
      stopSignal: 'SIGUSR1',
      listeners: [],
      transport: 'tcp',
      ...more,
    };
  }

  /** A program that serves a unix socket. */
  server(): ContainerSpec {
    const { server } = this.program;
    assert.ok(server, 'a runtime with supports.dial needs a program that serves a unix socket');
    return this.spec('waits', { ...server, stopSignal: 'SIGTERM' });
  }

  shell(script: keyof typeof RUNTIME_SCRIPTS): readonly string[] {
    return [this.program.executable, '-c', RUNTIME_SCRIPTS[script]];
  }

  async create(spec = this.spec()): Promise<ContainerRef> {
    const ref = await this.runtime.create(spec);
    this.#made.push(ref);
    return ref;
  }

  /** Creates and starts an instance and waits until it is ready. */
  async run(spec = this.spec()): Promise<ContainerRef> {
    const ref = await this.create(spec);
    await this.runtime.start(ref, spec);
    await this.expectLog(ref, /^ready$/m);
    return ref;
  }

  async expectLog(ref: ContainerRef, words: RegExp): Promise<void> {
    await eventually(async () => assert.match(await this.runtime.logs(ref, 100), words), READY_MS);
  }

  async #clean(): Promise<void> {
    for (const ref of this.#made) {
      await this.runtime.stop(ref, 0);
      await this.runtime.remove(ref);
    }
    assert.deepEqual(await this.runtime.list(this.label), [], 'instances are left');
    assert.deepEqual(await this.open.leftovers(), [], 'something is left');
  }
}

/** Cases that a runtime must pass: a title and a test. */
export type RuntimeCases = Readonly<Record<string, (env: RuntimeEnvironment) => Promise<void>>>;
