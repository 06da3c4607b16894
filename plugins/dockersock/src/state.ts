import { readFile } from 'node:fs/promises';
import type Docker from 'dockerode';
import { exitOf, LABELS, type ContainerState } from '@scistream/core';

/** Whether a container is an instance of SciStream. */
export const isManaged = (labels: Readonly<Record<string, string>> | undefined): boolean =>
  labels?.[LABELS.managed] === 'true';

/** Whether the program runs or the engine is restarting it. */
export const isRunning = ({ State }: Docker.ContainerInspectInfo): boolean => State.Running || State.Restarting;

/** Whether the container was never started. */
export const isFresh = ({ State }: Docker.ContainerInspectInfo): boolean => State.Status === 'created';

/** @param local Whether the engine runs on this machine, so that its process ids are valid here. */
export async function stateOf(container: Docker.ContainerInspectInfo, local: boolean): Promise<ContainerState> {
  const { State, Config, Name } = container;
  const state = { name: Name.replace(/^\//, ''), labels: Config.Labels };
  if (isRunning(container)) {
    const pid = local && State.Pid > 0 ? await programOf(State.Pid) : undefined;
    return { ...state, status: 'running', ...(pid === undefined ? {} : { pid }) };
  }
  if (isFresh(container)) return { ...state, status: 'created' };
  return { ...state, status: 'exited', exit: `${exitOf(State.ExitCode)}${State.OOMKilled ? ' (out of memory)' : ''}` };
}

/** Pid of the child of the container's init program, or of the first process without an init program. */
async function programOf(pid: number): Promise<number | undefined> {
  const read = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  const name = (await read('comm')).trim();
  if (name === '') return undefined;
  if (!/^(docker-init|tini|catatonit|podman-init)/.test(name)) return pid;
  const [child] = (await read(`task/${pid}/children`)).trim().split(' ');
  return child ? Number(child) : undefined;
}
