/**
 * A Docker engine for tests: a dockerd of its own with a socket, data and daemons below one new directory, and one image
 * made from the programs of this machine. It never touches an engine that runs already. Only node: modules.
 *
 * The daemons belong to a guard (engine-guard.js), a process of its own that ends them and removes everything when the
 * one that asked for them says so or is gone, however it went. Should even the guard be killed, the next one clears up.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { searchPath } from '../setup.js';

const GUARD = fileURLToPath(new URL('engine-guard.js', import.meta.url));

/** The image every engine has: Debian's proxies, node and busybox, as far as this machine has them. */
export const IMAGE = 'scistream-test:1';

/** How long the guard may take to do one thing, in ms. Importing the image is the longest. */
const LIMIT_MS = 120_000;

/** Starts a guard and gives back how to talk to it: one line of JSON there, one back. */
async function guard(kind) {
  const child = spawn(process.execPath, [GUARD, kind], {
    // Out of reach of Ctrl-C, and without the marks by which the test runner finds what a test left behind.
    detached: true,
    env: { PATH: searchPath, HOME: '/' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'exit');
  // Only while somebody waits for an answer does the guard keep this process alive.
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

/** An engine of some kind, with its image. */
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
 * bridge and without touching the firewall. Takes some 5 s. Rejects with the last words of the daemon.
 * @returns {Promise<import('./engine.js').TestEngine>}
 */
export const startEngine = () => start('docker');

/**
 * The same with Debian's Podman behind Docker's interface. Its containers do not depend on the daemon.
 * @returns {Promise<import('./engine.js').TestEngine>}
 */
export const startPodman = () => start('podman');
