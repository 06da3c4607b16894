import type { Socket } from 'node:net';

/**
 * Probes that Node.js (libuv) makes the kernel send before it closes a connection. It also fixes their interval to one
 * second, and offers no other way to set socket options.
 */
const PROBES = 10;
/** Within this time after {@link NOW_MS}, the kernel sends one probe. The next one would follow after a second. */
const ONE_PROBE_MS = 250;
/** The shortest idle time, which makes the kernel send a probe immediately. */
const NOW_MS = 1_000;
/** The longest idle time (MAX_TCP_KEEPIDLE), which makes the kernel send no probe. */
const NEVER_MS = 32_767_000;

/** Times of TCP keepalive, ms. */
export interface KeepaliveTimes {
  /** Time without traffic before the first probe. */
  readonly idleMs: number;
  /** Time of unanswered probes after which the connection is reset. */
  readonly probingMs: number;
}

/** A watched socket and its traffic at the last check. */
interface Watched {
  bytes: number;
  /** Time of the last traffic, ms of the monotonic clock. */
  since: number;
}

/**
 * TCP keepalive with probes at the times of the other proxies. Node.js sends ten probes one second apart, so that a
 * quiet connection would not survive a network that is silent for ten seconds. This class triggers single probes
 * instead: it sets the shortest idle time, and the longest one before a second probe. The kernel counts the probes
 * without an answer. It resets the connection at the eleventh, so ten probes are distributed over `probingMs`.
 */
export class Keepalive {
  readonly #times: KeepaliveTimes;
  readonly #sockets = new Map<Socket, Watched>();

  constructor(times: KeepaliveTimes) {
    this.#times = times;
    setInterval(() => this.#check(), Math.max(NOW_MS, times.probingMs / PROBES)).unref();
  }

  /** Watches a connected socket until it closes. Call it once for each socket. */
  watch(socket: Socket): void {
    socket.setKeepAlive(true, NEVER_MS);
    this.#sockets.set(socket, { bytes: -1, since: performance.now() });
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #check(): void {
    const now = performance.now();
    const probed: Socket[] = [];
    for (const [socket, watched] of this.#sockets) {
      const bytes = socket.bytesRead + socket.bytesWritten;
      if (bytes !== watched.bytes) Object.assign(watched, { bytes, since: now });
      else if (now - watched.since >= this.#times.idleMs) probed.push(socket.setKeepAlive(true, NOW_MS));
    }
    if (probed.length === 0) return;
    setTimeout(() => {
      for (const socket of probed) socket.setKeepAlive(true, NEVER_MS);
    }, ONE_PROBE_MS);
  }
}
