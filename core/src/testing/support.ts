import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerRuntime } from '../contracts/container-runtime.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { PLUGIN_API_VERSION, type PluginContext } from '../contracts/plugin.js';
import { VERSION } from '../contracts/version.js';
import { poll } from '../contracts/wait.js';

/** A directory of a test; `await using` removes it with all it holds. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  remove(): Promise<void>;
}

/** Makes an empty directory, 0700, below the system's directory for temporary files. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'scistream-'));
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true });
  return { path, remove, [Symbol.asyncDispose]: remove };
}

/**
 * Repeats `check` until it does not throw, which is how a test waits for something.
 * @param timeoutMs After that what `check` threw last is thrown; long, because machines that run tests are slow at times.
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

/** A plugin's context whose host can be stopped. */
export interface TestContext extends PluginContext {
  /** Does what a stopping host does: aborts `signal` and calls the `onClose` functions in reverse order. */
  close(): Promise<void>;
}

/**
 * What a plugin gets from its host.
 * @param options.runtime Where the plugin's proxies run.
 * @param options.dataDir An existing directory for the plugin's own files.
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
    owner: 'test',
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
