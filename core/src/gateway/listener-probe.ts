import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import type { Address, Target } from '../contracts/address.js';
import { messageOf } from '../contracts/errors.js';
import type { ConnectResult } from '../contracts/gateway.js';
import { PROBE_NAME, type ProbeAnswer, type StreamTls } from '../contracts/stream.js';
import { formatDuration } from '../contracts/units.js';
import { within } from '../contracts/wait.js';
import { localAddressFor } from '../proxy/local-address.js';
import type { Dial } from './probe-runs.js';
import { CONNECT_TIMEOUT_MS, eachOnce, isTried, noAnswer } from './probes.js';

/** Maximum time from the connection to the answer of the proxy, ms. */
const ANSWER_TIMEOUT_MS = 5_000;

/** Reasons of a failed verification of the peer (X509_V_ERR_…), which Node.js reports as codes. */
const CLOCK = 'Compare the clocks of both gateways with the time of the user who created the stream';
const OWN_VERDICTS: Readonly<Record<string, string>> = {
  CERT_NOT_YET_VALID: `the certificate of the other gateway is not yet valid. ${CLOCK}`,
  CERT_HAS_EXPIRED: `the certificate of the other gateway has expired. ${CLOCK}`,
};

/**
 * Completes a TLS handshake with each target, as the proxy of an outbound side does, and waits for the answer of the
 * proxy there. In TLS 1.3 a server verifies the client after the handshake of the client has ended, and a session ticket
 * proves nothing: nginx sends it first. No byte is sent after the handshake, so that none can reach a producer.
 * @param localAddress As in `S2DSRequest.localAddress`.
 */
export async function probeListeners(
  targets: readonly Target[],
  tls: StreamTls,
  answer: ProbeAnswer,
  localAddress: string | undefined,
  dial: Dial = (connect) => connect(),
): Promise<readonly ConnectResult[]> {
  const results = await eachOnce(targets, dial, (address) => probeListener(address, tls, answer, localAddress));
  return results.some(isTried) ? results.filter(isTried) : results;
}

/** Never rejects. `roundTripMs` is the time of the TCP handshake. */
async function probeListener(
  address: Address,
  tls: StreamTls,
  answer: ProbeAnswer,
  localAddress: string | undefined,
): Promise<ConnectResult> {
  const begun = performance.now();
  let roundTripMs: number | undefined;
  const wire = connect({ ...address, ...localAddressFor(localAddress, address), noDelay: true }).on(
    'error',
    () => undefined,
  );
  try {
    await within(once(wire, 'connect'), CONNECT_TIMEOUT_MS, noAnswer);
    roundTripMs = performance.now() - begun;
    await handshake(wire, tls, answer);
    return { address, roundTripMs };
  } catch (error) {
    return { address, roundTripMs: roundTripMs ?? performance.now() - begun, error: messageOf(error) };
  } finally {
    wire.destroy();
  }
}

/** @throws Error with the reason, for the operator */
async function handshake(wire: Socket, tls: StreamTls, answer: ProbeAnswer): Promise<void> {
  let secure = false;
  const silent = (): Error =>
    new Error(
      secure
        ? `TLS: no answer within ${formatDuration(ANSWER_TIMEOUT_MS)} after the handshake`
        : `TLS: no handshake within ${formatDuration(ANSWER_TIMEOUT_MS)}. ` +
            'A part of the path may drop large packets (path MTU), or another program listens there',
    );
  const socket = connectTls({
    socket: wire,
    cert: tls.certificate,
    key: tls.key,
    ca: tls.ca,
    servername: PROBE_NAME,
    checkServerIdentity: (_name, certificate) => checkServerIdentity(tls.peer, certificate),
    minVersion: 'TLSv1.3',
  });
  socket.once('secureConnect', () => (secure = true));
  await within(answered(socket, wire, answer), ANSWER_TIMEOUT_MS, silent);
}

/** Resolves when the proxy has accepted the connection. */
function answered(socket: TLSSocket, wire: Socket, answer: ProbeAnswer): Promise<void> {
  return new Promise((resolve, reject) => {
    let before: number | undefined;
    socket.once('secureConnect', () => (before = wire.bytesRead));
    socket.once('data', () => resolve());
    socket.once('error', (error: NodeJS.ErrnoException) => reject(explained(error)));
    socket.once('end', () => {
      // A rejection is an alert, which is an error, but it may follow `end`.
      setImmediate(() => {
        if (answer === 'close' && before !== undefined && wire.bytesRead > before) resolve();
        else reject(new Error(`TLS: the other gateway closed the connection ${where(before)}`));
      });
    });
    socket.once('close', () => reject(new Error(`TLS: the connection was closed ${where(before)}`)));
  });
}

const where = (before: number | undefined): string =>
  before === undefined
    ? 'during the handshake'
    : `after the handshake. It may have rejected the certificate of this gateway. ${CLOCK}`;

/** The reason of a TLS error. An alert is the verdict of the other gateway about the certificate of this one. */
function explained(error: NodeJS.ErrnoException): Error {
  const { code = '', message } = error;
  const own = OWN_VERDICTS[code];
  if (own) return new Error(`TLS: ${own}`);
  const alert = /^ERR_SSL_(?:TLSV1|TLSV13|SSLV3)_ALERT_(.+)$/.exec(code)?.[1];
  if (alert) {
    const hint = /^(BAD_CERTIFICATE|CERTIFICATE_)/.test(alert) ? ` ${CLOCK}` : '';
    return new Error(`TLS: the other gateway sent the alert "${alert.toLowerCase().replaceAll('_', ' ')}".${hint}`);
  }
  return new Error(code.startsWith('ERR_SSL_') ? `TLS: ${code}` : `TLS: ${message}`);
}
