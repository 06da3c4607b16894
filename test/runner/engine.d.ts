/** A container engine for tests alone. */
export interface TestEngine {
  /** Where it listens, as DOCKER_HOST has it: `unix:///…`. */
  readonly host: string;
  /** An image with haproxy, nginx, stunnel4 and node, as far as this machine has them, and busybox's commands. */
  readonly image: string;
  /** Holds the logs of the daemons. */
  readonly directory: string;
  /** Ends the daemon alone, as an upgrade (SIGTERM) or a crash (SIGKILL) does. Rejects where there is none to end. */
  down(signal?: NodeJS.Signals): Promise<void>;
  /** Starts the daemon again on the same data; returns when it answers. */
  up(options?: { readonly liveRestore?: boolean }): Promise<void>;
  /** Ends and removes everything: containers, mounts, processes, files. */
  stop(): Promise<void>;
}

/** The image every engine has. */
export const IMAGE: string;

/** Starts a Docker engine: needs root and the packages that `// needs: docker` stands for. */
export function startEngine(): Promise<TestEngine>;

/** Starts Podman behind Docker's interface: needs root and the packages that `// needs: podman` stands for. */
export function startPodman(): Promise<TestEngine>;
