/**
 * Runs one container engine until its standard input closes (see engine.js). It reads requests as lines of JSON and
 * answers each with one line. Its first line tells the address of the engine.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { END_MS, PREFIX, clear, clearAbandoned, readText, until } from './engine-clear.js';
import { makeRoot } from './engine-image.js';
import { READY_MS, docker, podman } from './engine-kinds.js';

const IMAGE = 'scistream-test:1';
const KINDS = { docker, podman };

/** Sends one API call to the engine. Resolves with the status and the text of the answer. */
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

async function endDaemon(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) throw new Error('the daemon does not run');
  const ended = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await ended;
  clearTimeout(timer);
}

/** Waits until the daemon answers. Throws the last lines of its log if it does not. */
async function answers(directory, socket, child) {
  const ok = async () => {
    if (child.exitCode !== null) return true;
    return (await call(socket, 'GET', '/_ping').catch(() => undefined))?.status === 200;
  };
  if ((await until(ok, READY_MS)) && child.exitCode === null) return;
  const words = readText(join(directory, 'engine.log')).trim().split('\n').slice(-5).join('\n');
  throw new Error(`the engine did not start:\n${words}`);
}

async function importImage(directory, socket) {
  const rootfs = join(directory, 'image');
  mkdirSync(rootfs);
  makeRoot(rootfs);
  const tar = spawn('tar', ['-c', '--numeric-owner', '-C', rootfs, '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const { status, text } = await call(socket, 'POST', `/images/create?fromSrc=-&repo=${IMAGE}`, tar.stdout);
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
    kind.end?.(directory);
    await clear(directory);
  }
}

// The parent may be gone, and then nothing reads the answers. Clean up in any case.
process.stdout.on('error', () => undefined);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.stdin.destroy());
await main();
process.exit(0);
