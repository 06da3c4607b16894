import { readdir } from 'node:fs/promises';
import type { ContainerRef, ContainerRuntime } from '../contracts/container-runtime.js';
import { silentLogger } from '../contracts/logger.js';
import { ProcessRuntime } from '../runtime/process-runtime.js';
import { descendants, kill, listeningAddresses, processesBelow } from './system.js';

/** Addresses of the test machine, as programs in the runtime and their clients use them. */
export interface TestHosts {
  /** Address of the servers and listeners of a test. */
  readonly v4: string;
  readonly v6: string;
  /** A host name that resolves to `v4` or to another such address. */
  readonly name: string;
}

/**
 * Creates a runtime for each test of the contract kit. Every runtime needs one, including runtimes of third parties.
 */
export interface RuntimeFixture {
  /** Column of the result table. */
  readonly id: string;
  /** Whether programs in the runtime can use IPv6; default true. */
  readonly ipv6?: boolean;
  /**
   * Called once for each test.
   * @param directory Does not exist yet; used by this test only; removed after `close`.
   */
  open(directory: string): Promise<OpenRuntime>;
}

/** A runtime of one test. */
export interface OpenRuntime {
  readonly runtime: ContainerRuntime;
  /** Default 127.0.0.1, ::1 and localhost: programs share the addresses of this machine. */
  readonly hosts?: TestHosts;
  /** Returns a second object for the same instances, as a restarted daemon has. */
  another(): ContainerRuntime;
  /** Kills the program of an instance without using the runtime, as an operator or the kernel would. */
  kill(ref: ContainerRef): Promise<void>;
  /**
   * Addresses at which clients reach the programs of these instances, as host:port, sorted. Use `listeningOf` if the
   * programs are processes of this machine.
   */
  listening(refs: readonly ContainerRef[]): Promise<readonly string[]>;
  /** Descriptions of everything that is left of the instances of this test; empty if there is nothing. */
  leftovers(): Promise<readonly string[]>;
  /** Removes leftovers and the runtime. */
  close(): Promise<void>;
}

/** Addresses on which local processes accept connections, according to the kernel. */
export async function listeningOf(
  runtime: Pick<ContainerRuntime, 'inspect'>,
  refs: readonly ContainerRef[],
): Promise<readonly string[]> {
  const states = await Promise.all(refs.map((ref) => runtime.inspect(ref)));
  return await listeningAddresses(await descendants(states.flatMap(({ pid }) => pid ?? [])));
}

/** Local processes, available on every machine. */
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
        if (pid === undefined) throw new Error(`${ref.name} is not running and cannot be killed`);
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
