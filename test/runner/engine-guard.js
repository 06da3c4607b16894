/**
 * Runs one container engine for as long as its standard input is open (see engine.js). Requests come as lines of JSON,
 * and each gets one line back; the first line tells where the engine listens.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { makeRoot } from './engine-image.js';

/** Short, because the path of a unix socket may have no more than 107 bytes (unix(7)); containerd's are long. */
const PREFIX = '/tmp/sce-';
const READY_MS = 60_000;
const END_MS = 10_000;
const SHIMS = '/run/containerd/s';
const CGROUPS = '/sys/fs/cgroup';
const [name, tag] = ['scistream-test', '1'];

const isAlive = (pid) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readText(`/proc/${pid}/status`));

/** A file that may be gone by now; then empty. */
function readText(path) {
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

/** Waits until `done` says so; false after the deadline. */
async function until(done, limit) {
  for (const deadline = Date.now() + limit; Date.now() < deadline; await pause(25)) if (await done()) return true;
  return false;
}

/** One call of the engine's interface; the answer's status and text. */
function call(socketPath, method, path, body) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers: { host: 'engine' } }, async (incoming) => {
      let text = '';
      for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
      resolve({ status: incoming.statusCode, text });
    });
    outgoing.on('error', reject);
    if (body) body.pipe(outgoing);
    else outgoing.end();
  });
}

/** The processes of an engine in a directory: its daemons, their shims and what runs in containers. */
function processesOf(directory) {
  const cgroup = `/${basename(directory)}/`;
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid || !isAlive(pid)) return false;
    if (readText(`/proc/${pid}/cmdline`).includes(`${directory}/`)) return true;
    if (readText(`/proc/${pid}/cgroup`).includes(cgroup)) return true;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${directory}/`);
    } catch {
      return false;
    }
  });
}

/** Unmounts everything below a directory, the innermost first. */
function unmountBelow(directory) {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.reverse()) spawnSync('umount', ['-l', point]);
}

/**
 * Removes the sockets of containerd's shims, which lie in one folder whatever the configuration says; a shim that was
 * killed leaves its own behind.
 */
function removeShimSockets(directory) {
  const tasks = join(directory, 'containerd/state/io.containerd.runtime.v2.task/moby');
  for (const id of existsSync(tasks) ? readdirSync(tasks) : []) {
    const socket = readText(join(tasks, id, 'address'))
      .trim()
      .replace('unix://', '');
    if (socket.startsWith(SHIMS)) rmSync(socket, { force: true });
  }
  for (const folder of [SHIMS, join(SHIMS, '..')])
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}

/** Removes the control groups of an engine, which are empty by now. */
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

/** Ends and removes all there is of an engine, whatever state it is in. */
async function clear(directory) {
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

/** Clears up behind guards that were killed themselves. */
async function clearAbandoned() {
  const parent = join(PREFIX, '..');
  const directories = readdirSync(parent).filter((entry) => entry.startsWith(basename(PREFIX)));
  for (const directory of directories.map((entry) => join(parent, entry))) {
    const pid = readText(join(directory, 'guard.pid'));
    const guarded = pid === '' || (isAlive(pid) && readText(`/proc/${pid}/cmdline`).includes('engine-guard'));
    if (!guarded) await clear(directory);
  }
}

/** Starts a daemon that writes to a log of its own. */
function daemon(directory, log, [command, ...args]) {
  const fd = openSync(join(directory, log), 'a');
  const child = spawn(command, args, { cwd: directory, stdio: ['ignore', fd, fd] });
  // A program that is missing shows in what is said when nothing answers.
  child.on('error', (error) => writeFileSync(fd, `${error.message}\n`));
  return child;
}

async function endDaemon(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) throw new Error('the daemon does not run');
  const ended = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await ended;
  clearTimeout(timer);
}

/** Waits for the daemon's answer; the last lines of its log if none comes. */
async function answers(directory, socket, child) {
  const ok = async () => {
    if (child.exitCode !== null) return true;
    return (await call(socket, 'GET', '/_ping').catch(() => undefined))?.status === 200;
  };
  if ((await until(ok, READY_MS)) && child.exitCode === null) return;
  const words = readText(join(directory, 'engine.log')).trim().split('\n').slice(-5).join('\n');
  throw new Error(`the engine did not start:\n${words}`);
}

/** What makes a Docker engine: containerd beside it, so that the daemon can go and come back while containers run. */
const docker = {
  prepare(directory) {
    const config = [
      'version = 2',
      `root = "${directory}/containerd/root"`,
      `state = "${directory}/containerd/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `address = "${directory}/containerd.sock"`,
      '[plugins."io.containerd.internal.v1.opt"]',
      `path = "${directory}/containerd/opt"`,
    ];
    writeFileSync(join(directory, 'containerd.toml'), config.join('\n'));
    daemon(directory, 'containerd.log', ['containerd', '--config', join(directory, 'containerd.toml')]);
  },
  async start(directory, socket, { liveRestore = false }) {
    writeFileSync(join(directory, 'docker.json'), JSON.stringify({ 'live-restore': liveRestore }));
    await until(() => existsSync(join(directory, 'containerd.sock')), READY_MS);
    const options = {
      'config-file': join(directory, 'docker.json'),
      host: `unix://${socket}`,
      'data-root': join(directory, 'data'),
      'exec-root': join(directory, 'exec'),
      pidfile: join(directory, 'docker.pid'),
      containerd: join(directory, 'containerd.sock'),
      bridge: 'none',
      iptables: 'false',
      'ip-forward': 'false',
      'cgroup-parent': `/${basename(directory)}`,
    };
    // A daemon that was killed leaves its number, which by now may be somebody else's.
    rmSync(options.pidfile, { force: true });
    return daemon(directory, 'engine.log', ['dockerd', ...Object.entries(options).map(([k, v]) => `--${k}=${v}`)]);
  },
};

const KINDS = { docker };

async function importImage(directory, socket) {
  const rootfs = join(directory, 'image');
  mkdirSync(rootfs);
  makeRoot(rootfs);
  const tar = spawn('tar', ['-c', '--numeric-owner', '-C', rootfs, '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const { status, text } = await call(socket, 'POST', `/images/create?fromSrc=-&repo=${name}&tag=${tag}`, tar.stdout);
  if (status !== 200 || text.includes('"error"')) throw new Error(`the image cannot be imported: ${text.trim()}`);
  rmSync(rootfs, { recursive: true });
}

async function main() {
  const kind = KINDS[process.argv[2]];
  const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  await clearAbandoned();
  const directory = mkdtempSync(PREFIX);
  writeFileSync(join(directory, 'guard.pid'), String(process.pid));
  const socket = join(directory, 'd.sock');
  let child;
  const requests = {
    up: async (options) => {
      child = await kind.start(directory, socket, options);
      await answers(directory, socket, child);
    },
    down: ({ signal }) => endDaemon(child, signal),
  };
  try {
    kind.prepare(directory);
    await requests.up({});
    await importImage(directory, socket);
    answer({ host: `unix://${socket}`, directory });
    for await (const line of createInterface({ input: process.stdin })) {
      const asked = JSON.parse(line);
      await requests[asked.do](asked).then(
        () => answer({}),
        (error) => answer({ error: error.message }),
      );
    }
  } catch (error) {
    answer({ error: error.message });
  } finally {
    if (child?.exitCode === null && child.signalCode === null) await endDaemon(child, 'SIGTERM');
    await clear(directory);
  }
}

// The one who asked may be gone, and then nobody reads; what is to be done is the same.
process.stdout.on('error', () => undefined);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.stdin.destroy());
await main();
process.exit(0);
