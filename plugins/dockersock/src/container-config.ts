import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { ContainerSpec } from '@scistream/core';
import type { EngineFacts } from './engine.js';
import type { EngineOptions } from './options.js';

/** Mount point of the instance directory in its container. */
export const MOUNT = '/scistream';
/** Directory in a volume that holds the files. The mount point itself belongs to root and cannot be chowned. */
export const FOLDER = 'instance';

/** Label of a container that runs one command; its value is the name of the instance. */
export const CHECK_LABEL = 'org.scistream.check-of';
const LOWEST_FREE_PORT = 1024;
const PROCESSES = 512;

/** Numeric user and group of a program. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Properties of a container besides the spec. */
export interface Setting {
  readonly options: EngineOptions;
  readonly facts: EngineFacts;
  readonly user: User;
  /** For commands: the capabilities of the program of the instance. */
  readonly capabilities?: string[] | undefined;
  /** A local directory that is mounted as the instance directory; otherwise a volume is used. */
  readonly directory?: string;
  /** Name of the volume, if it exists. */
  readonly volume?: string;
}

/** Whether a program needs root to listen, the only reason for a capability. */
const needsLowPort = ({ listeners }: ContainerSpec): boolean => listeners.some(({ port }) => port < LOWEST_FREE_PORT);

export const parseUser = (text: string): User => {
  const [uid = 0, gid = 0] = text.split(':').map(Number);
  return { uid, gid };
};

/**
 * User of a program: the daemon's own user, which can share files with it, or the option `user` if the daemon is root.
 * In a rootless engine the daemon's user has the id 0.
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

/** The request that creates the container of a command beside an instance that does not run. */
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
    // Nginx binds its addresses when it checks a configuration, so they must exist.
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
