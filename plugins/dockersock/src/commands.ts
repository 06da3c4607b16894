import { readlink } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { ContainerRef, ExecResult, Logger } from '@scistream/core';
import { formatDuration, messageOf, systemCode } from '@scistream/core';
import { CHECK_LABEL, commandContainer, type Setting } from './container-config.js';
import type { Engine } from './engine.js';
import { failed, Late, reasonOf, statusOf } from './errors.js';
import { collect, demultiplex } from './output.js';

const OUTPUT_LIMIT = 1024 * 1024;
/** Time to remove a container in addition to the command, ms. */
const REMOVAL_MS = 120_000;

/** Runs a command inside a running container. */
export async function runInside(
  engine: Engine,
  log: Logger,
  { Id, Config, State }: Docker.ContainerInspectInfo,
  command: readonly string[],
  timeoutMs: number,
): Promise<ExecResult> {
  const exec = await engine.call((docker, abortSignal) =>
    docker.getContainer(Id).exec({
      Cmd: [...command],
      AttachStdout: true,
      AttachStderr: true,
      User: Config.User,
      WorkingDir: Config.WorkingDir,
      abortSignal,
    }),
  );
  try {
    const output = await engine.call(async (_, abortSignal) => {
      const stream = (await exec.start({ hijack: false, stdin: false, abortSignal })) as Readable;
      abortSignal.addEventListener('abort', () => stream.destroy(), { once: true });
      return await collect(stream, OUTPUT_LIMIT);
    }, timeoutMs);
    const { ExitCode } = await engine.call((_, abortSignal) => exec.inspect({ abortSignal }));
    const { stdout, stderr } = demultiplex(output);
    return { exitCode: ExitCode ?? -1, stdout, stderr };
  } catch (error) {
    if (!isLate(error)) throw error;
    await endExec(engine, log, exec, State.Pid, command);
    throw tooLong(command, timeoutMs, error);
  }
}

/**
 * Kills a command that exceeded its deadline. The engine cannot do that, but it returns the pid of the command. The pid
 * is valid here only if the engine runs on this machine, so the process must be in the container's pid namespace
 * (pid_namespaces(7)).
 * @param first Pid of the container's first process, from the engine.
 */
async function endExec(
  engine: Engine,
  log: Logger,
  exec: Docker.Exec,
  first: number,
  command: readonly string[],
): Promise<void> {
  try {
    const { Running, Pid } = await engine.call((_, abortSignal) => exec.inspect({ abortSignal }));
    if (!Running || Pid <= 0) return;
    const [its, ours, inside] = await Promise.all([Pid, 'self', first].map(pidNamespaceOf));
    if (its !== inside || its === ours) throw new Error('its process is on another machine');
    process.kill(Pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return;
    log.warn({ command: command[0], error: messageOf(error) }, 'command cannot be killed and keeps running');
  }
}

const pidNamespaceOf = (pid: number | string): Promise<string> => readlink(`/proc/${pid}/ns/pid`);

/**
 * Runs a command in a temporary container with the image, files, user and network of an instance that does not run,
 * without its ports. The container is always removed.
 */
export async function runBeside(
  engine: Engine,
  log: Logger,
  ref: ContainerRef,
  image: string,
  command: readonly string[],
  setting: Setting,
  timeoutMs: number,
): Promise<ExecResult> {
  const request = commandContainer(ref.name, image, command, setting);
  const name = request.name ?? '';
  // Removes a leftover of a killed process. A foreign container of this name makes the creation fail.
  await removeCommand(engine, ref);
  const container = await engine.call((docker, abortSignal) => docker.createContainer({ ...request, abortSignal }));
  try {
    return await engine.call(async (_, abortSignal) => {
      await container.start({ abortSignal });
      const { StatusCode } = (await container.wait({ abortSignal })) as { StatusCode: number };
      const output = await container.logs({ stdout: true, stderr: true, abortSignal });
      const { stdout, stderr } = demultiplex(output);
      return { exitCode: StatusCode, stdout, stderr };
    }, timeoutMs);
  } catch (error) {
    if (isLate(error)) throw tooLong(command, timeoutMs, error);
    throw error;
  } finally {
    await removeCommand(engine, ref).catch((error: unknown) => {
      log.error({ container: name, error: messageOf(error) }, 'container of a command cannot be removed');
    });
  }
}

/** Removes the container of a command beside an instance, if it exists. */
export async function removeCommand(engine: Engine, { name }: ContainerRef): Promise<void> {
  const request = `${name}-check`;
  try {
    const { Id, Config } = await engine.call((docker, abortSignal) =>
      docker.getContainer(request).inspect({ abortSignal }),
    );
    if (Config.Labels[CHECK_LABEL] !== name) return;
    await engine.call(
      (docker, abortSignal) => docker.getContainer(Id).remove({ force: true, abortSignal }),
      REMOVAL_MS,
    );
  } catch (error) {
    const status = statusOf(error);
    // It is gone, or another process is removing it.
    if (status === 404 || (status === 409 && /in progress/.test(reasonOf(error)))) return;
    throw error;
  }
}

const isLate = (error: unknown): error is Error => error instanceof Error && error.cause instanceof Late;

const tooLong = (command: readonly string[], timeoutMs: number, cause: Error) =>
  failed(
    `${command.join(' ')} did not end within ${formatDuration(timeoutMs)}`,
    new Error('it was stopped', { cause }),
  );
