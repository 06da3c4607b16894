/** A container engine that only tests use. */
export interface TestEngine {
  /** Its address as in DOCKER_HOST: `unix:///…`. */
  readonly host: string;
  /** An image with haproxy, nginx, stunnel4 and node, as far as this machine has them, and the commands of busybox. */
  readonly image: string;
  /** Contains the logs of the daemons. */
  readonly directory: string;
  /** Ends the daemon but not its containers, as an upgrade (SIGTERM) or a crash (SIGKILL) does. Rejects if it does not run. */
  down(signal?: NodeJS.Signals): Promise<void>;
  /** Restarts the daemon on the same data. Resolves when it answers. */
  up(options?: { readonly liveRestore?: boolean }): Promise<void>;
  /** Ends and removes everything: containers, mounts, processes, files. */
  stop(): Promise<void>;
}

/** The image in every engine. */
export const IMAGE: string;

/** Starts a Docker engine. Needs root and the packages of `// needs: docker`. */
export function startEngine(): Promise<TestEngine>;

/** Starts Podman with Docker's API. Needs root and the packages of `// needs: podman`. */
export function startPodman(): Promise<TestEngine>;
