import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect, createSecureContext, createServer } from 'node:tls';
import type { SecureContext, SecureContextOptions, Server, TLSSocket } from 'node:tls';
import { TLS_FILES } from './protocol.js';

/**
 * Mutual TLS 1.3 for all connections of the worker: credentials are read and parsed once. AES-128-GCM first, because it
 * is as fast as any where the processor has AES. A session is never resumed: SSL_OP_NO_TICKET makes tickets references
 * into a cache of sessions, and there is none.
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

/** Makes connections to the gateway of the other side, which has to prove that it is `peer`. */
export class TlsClient {
  readonly #peer: string;
  readonly #context: SecureContext;

  /** Reads the files of the working directory. @param peer DNS name in the certificate of the other side */
  constructor(peer: string) {
    this.#peer = peer;
    this.#context = createSecureContext(credentials());
  }

  /** Secures a socket that is being connected. The result emits `secureConnect` once the other side has proved itself. */
  secure(wire: Socket): TLSSocket {
    return connect({
      socket: wire,
      secureContext: this.#context,
      servername: this.#peer,
      rejectUnauthorized: true,
    });
  }
}

/**
 * Accepts connections of the gateway of the other side and nobody else's: the certificate must be signed by `ca`, which
 * OpenSSL checks as one of a client (extended key usage, where there is one).
 */
export class TlsServer {
  /** Never listens: it is handed connections, which Node documents, and tells which of them it trusts. */
  readonly #server: Server;
  readonly #pending = new Map<string, (secured: TLSSocket) => void>();
  readonly #handshakeMs: number;

  /**
   * Reads the files of the working directory.
   * @param handshakeMs from accept to the end of the handshake, however many bytes trickle in meanwhile
   */
  constructor(handshakeMs: number) {
    this.#handshakeMs = handshakeMs;
    this.#server = createServer({
      ...credentials(),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeMs,
    });
    this.#server.on('secureConnection', (socket) => {
      socket.allowHalfOpen = true;
      const done = this.#pending.get(nameOf(socket));
      if (done) done(socket);
      // Its peer has gone this very moment, so that its address cannot be told any more.
      else socket.destroy();
    });
  }

  /**
   * Secures an accepted socket that was made without `allowHalfOpen`: calls one of both once.
   * @param refused told whether the peer did something wrong, other than to leave before it said anything
   */
  secure(wire: Socket, secured: (socket: TLSSocket) => void, refused: (wrong: boolean) => void): void {
    const name = nameOf(wire);
    let late = false;
    // The time-out of Node starts again with every byte.
    const deadline = setTimeout(() => {
      late = true;
      wire.destroy();
    }, this.#handshakeMs);
    const failed = (): void => {
      settle();
      refused(late || wire.bytesRead > 0);
    };
    const settle = (): void => {
      clearTimeout(deadline);
      wire.off('close', failed);
      this.#pending.delete(name);
    };
    const done = (socket: TLSSocket): void => {
      settle();
      secured(socket);
    };
    wire.once('close', failed);
    this.#pending.set(name, done);
    this.#server.emit('connection', wire);
  }
}

/** Tells a connection from all others that are open. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
