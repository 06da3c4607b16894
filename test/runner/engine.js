/**
 * A Docker engine for tests: its own dockerd with socket, data and daemons below one new directory, and one image built
 * from the programs of this machine. It never touches an engine that already runs. Uses only node: modules.
 *
 * The daemons belong to a guard (engine-guard.js), which runs as a separate process. The guard ends them and removes
 * everything when it is told to, or when its parent ends for any reason. The next guard cleans up after a killed one.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { searchPath } from '../setup.js';

const GUARD = fileURLToPath(new URL('engine-guard.js', import.meta.url));

/** The image in every engine: Debian's proxies, node and busybox, as far as this machine has them. */
export const IMAGE = 'scistream-test:1';

/** Time limit of one request to the guard, in ms. Importing the image takes longest. */
const LIMIT_MS = 120_000;

/** Starts a guard and returns functions that send requests to it. */
async function guard(kind) {
  const child = spawn(process.execPath, [GUARD, kind], {
    // Not in the process group of Ctrl-C, and without the marks by which the runner finds processes that a test left.
    detached: true,
    env: { PATH: searchPath, HOME: '/' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'exit');
  // The guard keeps this process alive only while a request waits for an answer.
  const hold = (how) => [child, child.stdin, child.stdout].forEach((handle) => handle[how]?.());
  const answer = async () => {
    hold('ref');
    const timer = setTimeout(() => child.kill('SIGTERM'), LIMIT_MS);
    try {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the guard of the ${kind} engine ended`);
      const said = JSON.parse(value);
      if (said.error !== undefined) throw new Error(said.error);
      return said;
    } finally {
      clearTimeout(timer);
      hold('unref');
    }
  };
  const ask = (request) => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    return answer();
  };
  const stop = async () => {
    hold('ref');
    child.stdin.end();
    await ended;
  };
  return { answer, ask, stop };
}

/** Starts an engine of one kind, with its image. */
async function start(kind) {
  const { answer, ask, stop } = await guard(kind);
  const { host, directory } = await answer().catch(async (error) => {
    await stop();
    throw error;
  });
  let requests = Promise.resolve();
  const inTurn = (request) => (requests = requests.catch(() => undefined).then(() => ask(request)));
  return {
    host,
    directory,
    image: IMAGE,
    down: async (signal = 'SIGTERM') => void (await inTurn({ do: 'down', signal })),
    up: async (options = {}) => void (await inTurn({ do: 'up', ...options })),
    stop,
  };
}

/**
 * Starts a Docker engine (needs root, Debian's docker.io and busybox-static) on the network of this machine, without a
 * bridge and without changes to the firewall. Takes about 5 s. Rejects with the last lines of the daemon's log.
 * @returns {Promise<import('./engine.js').TestEngine>}
 */
export const startEngine = () => start('docker');

/**
 * The same with Debian's Podman, which offers Docker's API. Its containers do not depend on the daemon.
 * @returns {Promise<import('./engine.js').TestEngine>}
 */
export const startPodman = () => start('podman');
