import { connect } from 'node:net';
import type { Address } from '../contracts/address.js';
import type { ContainerRef, ContainerRuntime } from '../contracts/container-runtime.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import { formatDuration } from '../contracts/units.js';
import { poll } from '../contracts/wait.js';

const CHECK_TIMEOUT_MS = 10_000;
/** Exit code of a shell for a missing program (POSIX Shell Command Language §2.8.2). */
const COMMAND_NOT_FOUND = 127;
const READY_TIMEOUT_MS = 15_000;
const LOG_LINES = 10;

/**
 * Runs the configuration check of a proxy in the directory of an instance.
 * @param config Name of the file that `command` checks.
 * @throws SCI_PROXY_CONFIG_INVALID with the output of the command, SCI_EXECUTABLE_NOT_FOUND
 */
export async function checkConfig(
  { runtime }: PluginContext,
  proxy: string,
  ref: ContainerRef,
  command: readonly string[],
  config: string,
): Promise<void> {
  const { exitCode, stdout, stderr } = await runtime.exec(ref, command, CHECK_TIMEOUT_MS);
  if (exitCode === 0) return;
  if (exitCode === COMMAND_NOT_FOUND) {
    throw new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program of ${proxy} is missing: ${stderr.trim()}`, {
      suggestions: [`Install it, or correct proxies.${proxy}.executable in the configuration of the gateway.`],
    });
  }
  throw new S2DSException('SCI_PROXY_CONFIG_INVALID', `${proxy} rejects ${config}: ${(stderr || stdout).trim()}`, {
    suggestions: [`Check the options under proxies.${proxy} in the configuration of the gateway.`],
  });
}

/** Codes of {@link checkConfig} that explain a failed start better than the start does. */
const VERDICTS: readonly string[] = ['SCI_PROXY_CONFIG_INVALID', 'SCI_EXECUTABLE_NOT_FOUND'];

/**
 * Returns the error of a failed start: that of the configuration check if it rejects the file, otherwise that of the
 * start. Only a failure needs the check: a program that rejects its file does not become ready.
 * @param check Runs the configuration check.
 */
export async function startError(error: unknown, check: () => Promise<void>): Promise<unknown> {
  try {
    await check();
    return error;
  } catch (verdict) {
    return S2DSException.is(verdict) && VERDICTS.includes(verdict.code) ? verdict : error;
  }
}

/**
 * Polls `ready` until it returns true, for at most 15 s and only while the program runs.
 * @throws SCI_PROXY_NOT_READY with the last lines of the log; the reason of `signal`
 */
export async function waitReady(
  { runtime }: PluginContext,
  proxy: string,
  ref: ContainerRef,
  ready: () => Promise<boolean>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const done = new AbortController();
  const ended = runtime.exited(ref, done.signal).then((state) => {
    throw new Error(`exited during startup (${state.exit ?? 'unknown reason'})`);
  });
  const becomes = poll(
    // `ready` may read the log, which still exists after the program has ended.
    async () => ((await ready()) && (await runtime.inspect(ref)).status === 'running') || undefined,
    {
      timeoutMs: READY_TIMEOUT_MS,
      intervalMs: 2,
      signal: signal ? AbortSignal.any([signal, done.signal]) : done.signal,
    },
    (cause) => new Error(`did not become ready within ${formatDuration(READY_TIMEOUT_MS)}`, { cause }),
  );
  try {
    await Promise.race([becomes, ended]);
  } catch (cause) {
    signal?.throwIfAborted();
    const log = await logEnd(runtime, ref);
    throw new S2DSException('SCI_PROXY_NOT_READY', `${proxy} ${messageOf(cause)}${log}`, {
      cause,
      suggestions: ['Read the log of the proxy in the directory of the stream on the gateway.'],
    });
  } finally {
    done.abort();
    await Promise.allSettled([becomes, ended]);
  }
}

/** Completes a sentence about a failed program: a full stop, and the last lines of its log if there are any. */
export async function logEnd(runtime: ContainerRuntime, ref: ContainerRef): Promise<string> {
  const log = (await runtime.logs(ref, LOG_LINES).catch(messageOf)).trim();
  return log ? `. Its last output:\n${log}` : '.';
}

/** Opens a TCP connection and closes it. Rejects if nothing accepts it within 1 s. */
export function touch({ host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 1000 });
    socket.once('connect', () => resolve(void socket.destroy()));
    socket.once('timeout', () => socket.destroy(new Error('timed out')));
    socket.once('error', reject);
  });
}
