import { readlink } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { ContainerRef, ExecResult, Logger } from '@scistream/core';
import { messageOf, systemCode } from '@scistream/core';
import { CHECK_LABEL, commandContainer, type Setting } from './container-config.js';
import type { Engine } from './engine.js';
import { failed, Late, reasonOf, statusOf } from './errors.js';
import { collect, demultiplex } from './output.js';

const OUTPUT_LIMIT = 1024 * 1024;
/** What removing a container may take beyond the command itself, in ms. */
const REMOVAL_MS = 120_000;

/** Runs a command inside a container that runs. */
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
 * The engine cannot end a command that it started, but tells its process, which may be one of this machine. On any other
 * the number is that of a stranger here, so it must be in the container's own pid namespace (pid_namespaces(7)).
 * @param first Pid of the container's first process, as the engine tells it.
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
    if (its !== inside || its === ours) throw new Error('its process is not on this machine');
    process.kill(Pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return;
    log.warn({ command: command[0], error: messageOf(error) }, 'command goes on, because it cannot be killed');
  }
}

const pidNamespaceOf = (pid: number | string): Promise<string> => readlink(`/proc/${pid}/ns/pid`);

/**
 * Runs a command in a container of its own, with the image, the files and the user of an instance that does not run and
 * in its network, without its ports. The container is gone afterwards, however it went.
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
  // What an earlier process may have left when it was killed; a stranger of this name makes the creation fail.
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
      log.error({ container: name, error: messageOf(error) }, 'container of a command could not be removed');
    });
  }
}

/** Removes the container of a command beside an instance, if there is one. */
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
    // Gone, or about to be: somebody else removes it at this moment.
    if (status === 404 || (status === 409 && /in progress/.test(reasonOf(error)))) return;
    throw error;
  }
}

const isLate = (error: unknown): error is Error => error instanceof Error && error.cause instanceof Late;

const tooLong = (command: readonly string[], timeoutMs: number, cause: Error) =>
  failed(`${command.join(' ')} did not end within ${timeoutMs} ms`, new Error('it was ended', { cause }));
