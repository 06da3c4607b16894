import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import type { ConnectResult } from '../contracts/gateway.js';
import { within } from '../contracts/wait.js';

const CONNECT_TIMEOUT_MS = 5_000;
/** Half of a challenge in hexadecimal characters: the prober sends one half, the answer is the other. */
const HALF = 32;

/** Two halves, so that each side proves to the other that it was told the challenge by the control servers. */
export const newChallenge = (): string => randomBytes(HALF).toString('hex');

/**
 * Answers probes on an address for at most `lifeMs`, until one was right, or until `signal` aborts. Nothing else can be
 * had from the port. @returns When it is over.
 */
export async function answerProbe(
  address: Address,
  challenge: string,
  lifeMs: number,
  signal: AbortSignal,
): Promise<{ readonly closed: Promise<void> }> {
  const server = createServer();
  server.listen({ ...address, exclusive: true });
  await once(server, 'listening');
  // A failed accept (EMFILE) is for the prober to notice; without a listener it would end the process.
  server.on('error', () => undefined);
  return { closed: serveProbe(server, challenge, lifeMs, signal) };
}

async function serveProbe(server: Server, challenge: string, lifeMs: number, signal: AbortSignal): Promise<void> {
  const sockets = new Set<Socket>();
  const done = new AbortController();
  const over = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true, signal: done.signal });
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
      readExactly(socket, HALF).then(
        (half) => {
          if (!equal(half, challenge.slice(0, HALF))) return void socket.destroy();
          socket.end(challenge.slice(HALF), resolve);
        },
        () => socket.destroy(),
      );
    });
  });
  await within(over, lifeMs, () => new Error('expired')).catch(() => undefined);
  // The signal lives as long as the stream, which may be probed many times.
  done.abort();
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) if (!socket.writableEnded) socket.destroy();
  await closed;
}

/**
 * Sends a challenge to a probe port and checks the answer.
 * @returns Time of one message there and back, in ms.
 * @throws SCI_VERIFY_FAILED with the reason.
 */
export async function runProbe(address: Address, challenge: string): Promise<number> {
  const failed = (why: string): S2DSException =>
    new S2DSException('SCI_VERIFY_FAILED', `The way to ${formatAddress(address)} does not work: ${why}.`, {
      suggestions: ["Let the other gateway's port range through the firewalls between the two gateways."],
    });
  const socket = connect({ ...address, noDelay: true }).on('error', () => undefined);
  try {
    await within(once(socket, 'connect'), CONNECT_TIMEOUT_MS, () => new Error(`no answer in ${CONNECT_TIMEOUT_MS} ms`));
    const sent = performance.now();
    socket.write(challenge.slice(0, HALF));
    const answer = await within(
      readExactly(socket, HALF),
      CONNECT_TIMEOUT_MS,
      () => new Error('connected, but no answer'),
    );
    const roundTripMs = performance.now() - sent;
    if (!equal(answer, challenge.slice(HALF))) throw new Error('somebody else answered');
    return roundTripMs;
  } catch (error) {
    throw failed(messageOf(error));
  } finally {
    socket.destroy();
  }
}

/**
 * Opens a TCP connection, holds it for `holdMs`, or until the other side closes it or `signal` aborts, and closes it.
 * Never rejects.
 */
export async function tryConnect(address: Address, holdMs: number, signal?: AbortSignal): Promise<ConnectResult> {
  const socket = connect(address).on('error', () => undefined);
  const begun = performance.now();
  try {
    await within(once(socket, 'connect'), CONNECT_TIMEOUT_MS, () => new Error(`no answer in ${CONNECT_TIMEOUT_MS} ms`));
    const roundTripMs = performance.now() - begun;
    socket.resume();
    if (holdMs > 0) {
      const closed = once(socket, 'close', signal ? { signal } : {});
      await within(closed, holdMs, () => new Error('held long enough')).catch(() => undefined);
    }
    return { address, roundTripMs };
  } catch (error) {
    return { address, roundTripMs: performance.now() - begun, error: messageOf(error) };
  } finally {
    socket.destroy();
  }
}

function readExactly(socket: Socket, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (text.length >= length) resolve(text);
    });
    socket.once('close', () => reject(new Error('closed before it answered')));
  });
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
