import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect, createSecureContext, createServer } from 'node:tls';
import type { SecureContext, SecureContextOptions, Server, TLSSocket } from 'node:tls';
import { TLS_FILES } from './protocol.js';
import type { Reasons } from './reasons.js';
import { Strangers } from './strangers.js';

/**
 * Reads the credentials once, for mutual TLS 1.3 on all connections of the worker. AES-128-GCM is first because it is
 * the fastest on processors with AES instructions. Sessions are never resumed: with SSL_OP_NO_TICKET a ticket only
 * refers to the session cache, which is empty.
 */
function credentials(): SecureContextOptions {
  return {
    cert: readFileSync(TLS_FILES.certificate),
    key: readFileSync(TLS_FILES.key),
    ca: readFileSync(TLS_FILES.ca),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
  };
}

const TO_OTHER = 'TLS to the other gateway failed';
const FROM_OTHER = 'TLS from the other gateway failed';
const SILENCE = new Error('the handshake was not completed in time');

/** TLS client for connections to the gateway of the other side, whose certificate must contain the name `peer`. */
export class TlsClient {
  readonly #peer: string;
  readonly #context: SecureContext;

  /**
   * Reads {@link TLS_FILES} in the working directory.
   * @param peer DNS name in the certificate of the other side.
   */
  constructor(
    peer: string,
    private readonly reasons: Reasons,
  ) {
    this.#peer = peer;
    this.#context = createSecureContext(credentials());
  }

  /** Starts TLS on a connecting socket. The result emits `secureConnect` when the peer is verified. */
  secure(wire: Socket): TLSSocket {
    const socket = connect({
      socket: wire,
      secureContext: this.#context,
      servername: this.#peer,
      rejectUnauthorized: true,
    });
    // Also an alert of the server, which rejects a client only after the handshake of the client has ended.
    return socket.on('error', (error: NodeJS.ErrnoException) => {
      if (isTls(error)) this.reasons.note(TO_OTHER, error);
    });
  }

  /** Notes that the server accepted a connection and did not complete the handshake in time. */
  noteSilence(): void {
    this.reasons.note(TO_OTHER, SILENCE);
  }
}

/** Answer to a probe. */
const PROBE_ANSWER = '\n';

/**
 * TLS server for connections from the gateway of the other side. It rejects all certificates that `ca` has not signed,
 * or whose extended key usage, if present, does not include client authentication.
 */
export class TlsServer {
  /** Does not listen. It gets accepted sockets as `connection` events, which Node.js documents. */
  readonly #server: Server;
  readonly #strangers = new Strangers();
  readonly #pending = new Map<string, (secured: TLSSocket) => void>();
  readonly #handshakeMs: number;
  readonly #probe: string | undefined;

  /**
   * Reads {@link TLS_FILES} in the working directory.
   * @param handshakeMs Maximum time from the accept to the end of the handshake, ms.
   * @param probe Server name of probes. Such a client gets one byte, and the connection is closed.
   */
  constructor(
    handshakeMs: number,
    private readonly reasons: Reasons,
    probe?: string,
  ) {
    this.#handshakeMs = handshakeMs;
    this.#probe = probe;
    this.#server = createServer({
      ...credentials(),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeMs,
    });
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, { authorizationError }) => {
      // Node.js closes the connection of a client with a bad certificate, and reports only that it was closed.
      const verdict = authorizationError as Error | string | null | undefined;
      if (verdict) reasons.note(FROM_OTHER, new Error(`client certificate: ${String(verdict)}`));
      else if (isTls(error)) reasons.note(FROM_OTHER, error);
    });
    this.#server.on('secureConnection', (socket) => {
      socket.allowHalfOpen = true;
      const done = this.#pending.get(nameOf(socket));
      if (done) done(socket);
      // The peer has just closed the connection, so the socket has no remote address.
      else socket.destroy();
    });
  }

  /**
   * Starts TLS on an accepted socket without `allowHalfOpen`. Calls `secured` or `refused` once.
   * @param refused Called with false for a probe, and if the peer closed the connection before it sent any byte.
   * Otherwise called with true, also for a stranger above the limits of {@link Strangers}.
   */
  secure(wire: Socket, secured: (socket: TLSSocket) => void, refused: (wrong: boolean) => void): void {
    const name = nameOf(wire);
    // Read now: a closed connection has none.
    const { remoteAddress } = wire;
    const leave = this.#strangers.enter(remoteAddress);
    if (!leave) {
      wire.on('error', () => undefined).resetAndDestroy();
      refused(true);
      return;
    }
    let late = false;
    // The timeout of Node.js restarts with every byte.
    const deadline = setTimeout(() => {
      late = true;
      this.reasons.note(FROM_OTHER, SILENCE);
      wire.destroy();
    }, this.#handshakeMs);
    const failed = (): void => {
      settle();
      refused(late || wire.bytesRead > 0);
    };
    const settle = (): void => {
      clearTimeout(deadline);
      leave();
      wire.off('close', failed);
      this.#pending.delete(name);
    };
    const done = (socket: TLSSocket): void => {
      settle();
      this.#strangers.proven(remoteAddress);
      if (this.#probe === undefined || socket.servername !== this.#probe) {
        secured(socket);
        return;
      }
      socket.on('error', () => undefined).write(PROBE_ANSWER);
      socket.destroySoon();
      refused(false);
    };
    wire.once('close', failed);
    this.#pending.set(name, done);
    this.#server.emit('connection', wire);
  }
}

/** Whether OpenSSL or the verification of a certificate raised an error, and not the network. */
const isTls = ({ syscall, code = '' }: NodeJS.ErrnoException): boolean =>
  syscall === undefined && code !== 'ECONNRESET';

/** Identifies one of the open connections. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
