import { readdir } from 'node:fs/promises';
import type { ContainerRef, ContainerRuntime } from '../contracts/container-runtime.js';
import { silentLogger } from '../contracts/logger.js';
import { ProcessRuntime } from '../runtime/process-runtime.js';
import { descendants, kill, listeningAddresses, processesBelow } from './system.js';

/** Addresses of the machine of the tests, as programs in the runtime and clients of theirs use them. */
export interface TestHosts {
  /** Where servers of a test listen and the listeners of its streams are. */
  readonly v4: string;
  readonly v6: string;
  /** A name of `v4`, or of another such address. */
  readonly name: string;
}

/** How the contract kit makes a runtime of its own for each test; every runtime, also one of a third party, brings one. */
export interface RuntimeFixture {
  /** Column of the result table. */
  readonly id: string;
  /** Whether programs in it reach, and are reached at, IPv6 addresses; default true. */
  readonly ipv6?: boolean;
  /**
   * Called once for each test.
   * @param directory Does not exist yet; of this test alone; removed after `close`.
   */
  open(directory: string): Promise<OpenRuntime>;
}

/** A runtime of one test. */
export interface OpenRuntime {
  readonly runtime: ContainerRuntime;
  /** Default 127.0.0.1, ::1 and localhost: programs that have the addresses of this machine. */
  readonly hosts?: TestHosts;
  /** A second object over the same instances, as a daemon that was restarted has. */
  another(): ContainerRuntime;
  /** Kills the program of an instance as an operator or the kernel would, behind the runtime's back. */
  kill(ref: ContainerRef): Promise<void>;
  /**
   * Addresses at which the world reaches the programs of these instances, as host:port, sorted; see `listeningOf` for
   * programs that are processes of this machine.
   */
  listening(refs: readonly ContainerRef[]): Promise<readonly string[]>;
  /** Everything that is left of the instances of this test, in words; empty when there is nothing. */
  leftovers(): Promise<readonly string[]>;
  /** Removes what is left, and the runtime. */
  close(): Promise<void>;
}

/** Addresses on which programs that are processes of this machine accept connections, as the kernel sees it. */
export async function listeningOf(
  runtime: Pick<ContainerRuntime, 'inspect'>,
  refs: readonly ContainerRef[],
): Promise<readonly string[]> {
  const states = await Promise.all(refs.map((ref) => runtime.inspect(ref)));
  return await listeningAddresses(await descendants(states.flatMap(({ pid }) => pid ?? [])));
}

/** Local processes, which every machine has. */
export const processFixture: RuntimeFixture = {
  id: 'process',
  open: (directory) => {
    const make = (): ContainerRuntime => new ProcessRuntime({ directory, log: silentLogger });
    const runtime = make();
    return Promise.resolve({
      runtime,
      another: make,
      kill: async (ref) => {
        const { pid } = await runtime.inspect(ref);
        if (pid === undefined) throw new Error(`${ref.name} does not run, so it cannot be killed`);
        kill(pid);
      },
      listening: (refs) => listeningOf(runtime, refs),
      leftovers: async () => {
        const processes = await processesBelow(directory);
        const files = await readdir(directory, { recursive: true }).catch(() => []);
        return [...processes.map((pid) => `process ${pid}`), ...files.map((file) => `file ${file}`)];
      },
      close: async () => (await processesBelow(directory)).forEach(kill),
    });
  },
};
