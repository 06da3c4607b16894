import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerRuntime, RuntimeCapabilities } from '../contracts/container-runtime.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { PLUGIN_API_VERSION, type PluginContext } from '../contracts/plugin.js';
import type { StreamSpec } from '../contracts/stream.js';
import { VERSION } from '../contracts/version.js';
import { poll } from '../contracts/wait.js';

/** A directory for a test; `await using` removes it with its contents. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  remove(): Promise<void>;
}

/** Creates an empty directory with mode 0700 in the system's directory for temporary files. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'scistream-'));
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true });
  return { path, remove, [Symbol.asyncDispose]: remove };
}

/**
 * Repeats `check` until it does not throw.
 * @param timeoutMs Limit, ms; then the last error of `check` is thrown. Long, because test machines can be slow.
 */
export async function eventually(check: () => Promise<void> | void, timeoutMs = 30_000): Promise<void> {
  const attempt = async (): Promise<true> => {
    await check();
    return true;
  };
  await poll(attempt, { timeoutMs, intervalMs: 5 }, (error) =>
    error instanceof Error ? error : new Error(String(error)),
  );
}

/** A plugin context whose host can be stopped. */
export interface TestContext extends PluginContext {
  /** Acts like a stopping host: aborts `signal` and calls the `onClose` functions in reverse order. */
  close(): Promise<void>;
}

/**
 * Creates the context that a host passes to a plugin.
 * @param options.runtime Runtime of the plugin's proxies.
 * @param options.dataDir An existing directory for the plugin's files.
 */
export function testContext(options: {
  readonly runtime: ContainerRuntime;
  readonly dataDir: string;
  readonly gateway?: string;
  readonly log?: Logger;
}): TestContext {
  const { runtime, dataDir, gateway = 'test', log = silentLogger } = options;
  const stop = new AbortController();
  const closers: (() => Promise<void>)[] = [];
  return {
    runtime,
    dataDir,
    gateway,
    serverId: 'test',
    log,
    signal: stop.signal,
    host: { version: VERSION, apiVersion: PLUGIN_API_VERSION },
    onClose: (close) => void closers.push(close),
    close: async () => {
      stop.abort();
      for (const close of closers.splice(0).reverse()) await close();
    },
  };
}

/** The same runtime with other capabilities, for example without `dial`, as for programs on another machine. */
export function withSupports(runtime: ContainerRuntime, changes: Partial<RuntimeCapabilities>): ContainerRuntime {
  const supports = { ...runtime.supports, ...changes };
  return new Proxy(runtime, {
    get(target, key) {
      if (key === 'supports') return supports;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A valid spec: one plain TCP listener of the inbound side. */
export const testSpec: StreamSpec = {
  name: '',
  role: 'inbound',
  transport: 'tcp',
  connections: 1,
  bitsPerSecond: 0,
  lifetimeMs: 86_400_000,
  encryption: 'none',
  gateway: '',
  proxy: '',
  runtime: '',
};
