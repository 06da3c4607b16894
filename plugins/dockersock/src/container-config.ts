import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { ContainerSpec } from '@scistream/core';
import type { EngineFacts } from './engine.js';
import type { EngineOptions } from './options.js';

/** Where the directory of an instance is mounted in its container. */
export const MOUNT = '/scistream';
/** In a volume a folder below it is used: the mount point itself belongs to root and cannot be given away. */
export const FOLDER = 'instance';

/** Marks the container of a command that runs before its program, and names the instance. */
export const CHECK_LABEL = 'org.scistream.check-of';
const LOWEST_FREE_PORT = 1024;
const PROCESSES = 512;

/** Whom a program runs as, in numbers. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** What goes into a container besides the spec. */
export interface Setting {
  readonly options: EngineOptions;
  readonly facts: EngineFacts;
  readonly user: User;
  /** Of a command: what the program of its instance may do. */
  readonly capabilities?: string[] | undefined;
  /** Of this machine, mounted as the instance's directory; otherwise there is a volume. */
  readonly directory?: string;
  /** Name of the volume, once there is one. */
  readonly volume?: string;
}

/** Whether a program must be root to listen: the only thing for which it gets a capability. */
const needsLowPort = ({ listeners }: ContainerSpec): boolean => listeners.some(({ port }) => port < LOWEST_FREE_PORT);

export const parseUser = (text: string): User => {
  const [uid = 0, gid = 0] = text.split(':').map(Number);
  return { uid, gid };
};

/**
 * Whom the program of a spec runs as: the daemon's own user, who can then share files with it, or the one of the options
 * where the daemon is root. In a rootless engine the daemon's own user is called 0.
 */
export function userOf(spec: ContainerSpec, { user }: EngineOptions, { rootless }: EngineFacts): User {
  const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (needsLowPort(spec) || rootless) return { uid: 0, gid: 0 };
  return own.uid === 0 ? parseUser(user) : own;
}

/** The request that creates the container of an instance. */
export function instanceContainer(spec: ContainerSpec, setting: Setting): ContainerCreateOptions {
  const { options } = setting;
  const host = options.network === 'host';
  const ports = host ? [] : spec.listeners.map(({ host, port }) => ({ key: `${port}/${spec.transport}`, host, port }));
  const base = common(spec.image, [spec.executable, ...spec.args], setting);
  return {
    ...base,
    name: spec.name,
    Labels: { ...spec.labels },
    StopSignal: spec.stopSignal,
    ExposedPorts: Object.fromEntries(ports.map(({ key }) => [key, {}])),
    HostConfig: {
      ...base.HostConfig,
      NetworkMode: options.network,
      PortBindings: Object.fromEntries(
        ports.map(({ key, host, port }) => [key, [{ HostIp: host, HostPort: String(port) }]]),
      ),
      RestartPolicy: { Name: options.restart },
      ...(needsLowPort(spec) ? { CapAdd: ['NET_BIND_SERVICE'] } : {}),
    },
  };
}

/** The request that creates the container of one command beside an instance that does not run. */
export function commandContainer(
  name: string,
  image: string,
  command: readonly string[],
  setting: Setting,
): ContainerCreateOptions {
  const base = common(image, command, setting);
  return {
    ...base,
    name: `${name}-check`,
    Labels: { [CHECK_LABEL]: name },
    // Nginx binds its addresses when it checks a file, so they must be there.
    HostConfig: {
      ...base.HostConfig,
      NetworkMode: setting.options.network,
      ...(setting.capabilities ? { CapAdd: setting.capabilities } : {}),
    },
  };
}

function common(image: string, [executable = '', ...args]: readonly string[], setting: Setting) {
  const { options, facts, user, directory } = setting;
  const host: HostConfig = {
    Mounts: [mountOf(setting)],
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges'],
    PidsLimit: PROCESSES,
    Tmpfs: { '/tmp': 'rw,nosuid,nodev,noexec,size=64m,mode=1777' },
    ...(facts.init ? { Init: true } : {}),
    ...(options.memory === undefined ? {} : { Memory: options.memory }),
    ...(options.cpus === undefined ? {} : { NanoCpus: Math.round(options.cpus * 1e9) }),
    LogConfig: { Type: facts.podman ? 'k8s-file' : 'local', Config: { 'max-size': '1m' } },
  };
  return {
    Image: image,
    Entrypoint: [executable],
    Cmd: args,
    User: `${user.uid}:${user.gid}`,
    WorkingDir: directory === undefined ? `${MOUNT}/${FOLDER}` : MOUNT,
    HostConfig: host,
  };
}

function mountOf({ directory, volume }: Setting): NonNullable<HostConfig['Mounts']>[number] {
  if (directory !== undefined) return { Type: 'bind', Source: directory, Target: MOUNT };
  return { Type: 'volume', Source: volume ?? '', Target: MOUNT };
}
