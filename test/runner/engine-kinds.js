/** Starts the container engines of each kind, for engine-guard.js. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { until } from './engine-clear.js';

/** How long a daemon may take to be ready, in ms. */
export const READY_MS = 60_000;

/** Starts a daemon that writes to its own log. */
function daemon(directory, log, [command, ...args]) {
  const fd = openSync(join(directory, log), 'a');
  const child = spawn(command, args, { cwd: directory, stdio: ['ignore', fd, fd] });
  // A missing program shows in the log when the daemon does not answer.
  child.on('error', (error) => writeFileSync(fd, `${error.message}\n`));
  return child;
}

/** A Docker engine. Its containerd runs separately, so that containers survive a restart of the daemon. */
export const docker = {
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
    // A killed daemon leaves its pid file, and another process may have that pid now.
    rmSync(options.pidfile, { force: true });
    return daemon(directory, 'engine.log', ['dockerd', ...Object.entries(options).map(([k, v]) => `--${k}=${v}`)]);
  },
};

/** Podman's options for one directory, for the service and for commands. */
const podmanOptions = (directory) =>
  Object.entries({
    root: join(directory, 'podman'),
    runroot: join(directory, 'run'),
    tmpdir: join(directory, 'tmp'),
    'cgroup-manager': 'cgroupfs',
    'events-backend': 'file',
  }).map(([key, value]) => `--${key}=${value}`);

/** Podman's service with Docker's API. Its default limits need capabilities that not every process has. */
export const podman = {
  prepare(directory) {
    const config = [
      '[containers]',
      'default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]',
      '[engine]',
      'init_path = "/usr/bin/docker-init"',
    ];
    process.env.CONTAINERS_CONF = join(directory, 'containers.conf');
    writeFileSync(process.env.CONTAINERS_CONF, config.join('\n'));
  },
  start(directory, socket) {
    const service = ['system', 'service', '--time=0', `unix://${socket}`];
    return daemon(directory, 'engine.log', ['podman', ...podmanOptions(directory), ...service]);
  },
  end(directory) {
    spawnSync('podman', [...podmanOptions(directory), 'rm', '--all', '--force', '--time=0'], { stdio: 'ignore' });
  },
};
