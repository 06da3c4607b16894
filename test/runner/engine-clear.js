/** Finds and removes everything that a container engine for tests leaves: processes, mounts, control groups, files. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** Short, because the path of a unix socket has at most 107 bytes (unix(7)), and those of containerd are long. */
export const PREFIX = '/tmp/sce-';
/** How long to wait for a process to end, in ms. */
export const END_MS = 10_000;

/** How the command lines of an engine's own processes start. */
const DAEMONS = /^(?:[^\0]*\/)?(?:dockerd|docker-proxy|containerd[\w-]*|podman|conmon)\0/;
const SHIMS = '/run/containerd/s';
const CGROUPS = '/sys/fs/cgroup';

const isAlive = (pid) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readText(`/proc/${pid}/status`));

/** The text of a file; empty if the file no longer exists. */
export function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Waits until `done` returns true. Returns false after `limit` ms. */
export async function until(done, limit) {
  for (const deadline = Date.now() + limit; Date.now() < deadline; await pause(25)) if (await done()) return true;
  return false;
}

/** The processes of the engine in a directory: its daemons, their shims, and the processes in containers. */
function processesOf(directory) {
  const podman = join(directory, 'podman/overlay-containers');
  const groups = [
    `/${basename(directory)}/`,
    ...(existsSync(podman) ? readdirSync(podman).filter((id) => /^\w{64}$/.test(id)) : []),
  ];
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid || !isAlive(pid)) return false;
    const command = readText(`/proc/${pid}/cmdline`);
    if (DAEMONS.test(command) && command.includes(`${directory}/`)) return true;
    const group = readText(`/proc/${pid}/cgroup`);
    if (groups.some((part) => group.includes(part))) return true;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${directory}/`);
    } catch {
      return false;
    }
  });
}

/** Unmounts everything below a directory, innermost first. */
function unmountBelow(directory) {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.reverse()) spawnSync('umount', ['-l', point]);
}

/**
 * Removes the sockets of containerd's shims. They are in one fixed folder, whatever the configuration says, and a killed
 * shim does not remove its own.
 */
function removeShimSockets(directory) {
  const tasks = join(directory, 'containerd/state/io.containerd.runtime.v2.task/moby');
  for (const id of existsSync(tasks) ? readdirSync(tasks) : []) {
    const socket = readText(join(tasks, id, 'address'))
      .trim()
      .replace('unix://', '');
    if (socket.startsWith(SHIMS)) rmSync(socket, { force: true });
  }
}

/** Removes the control groups of an engine. They must be empty. */
function removeCgroups(directory) {
  const trees = readdirSync(CGROUPS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const parents = [CGROUPS, ...trees.map((entry) => join(CGROUPS, entry.name))];
  for (const parent of parents) {
    const own = join(parent, basename(directory));
    if (existsSync(own)) removeCgroup(own);
  }
}

function removeCgroup(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
  rmdirSync(folder);
}

/** Kills and removes everything that belongs to an engine, in any state. */
export async function clear(directory) {
  const gone = await until(() => {
    const pids = processesOf(directory);
    for (const pid of pids) kill(Number(pid), 'SIGKILL');
    return pids.length === 0;
  }, END_MS);
  if (!gone) throw new Error(`processes of ${directory} cannot be killed: ${processesOf(directory).join(' ')}`);
  unmountBelow(directory);
  removeShimSockets(directory);
  removeCgroups(directory);
  rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
}

/** Removes the engines of guards that were killed. */
export async function clearAbandoned() {
  const parent = join(PREFIX, '..');
  const directories = readdirSync(parent).filter((entry) => entry.startsWith(basename(PREFIX)));
  for (const directory of directories.map((entry) => join(parent, entry))) {
    const pid = readText(join(directory, 'guard.pid'));
    const guarded = pid === '' || (isAlive(pid) && readText(`/proc/${pid}/cmdline`).includes('engine-guard'));
    if (!guarded) await clear(directory);
  }
}
