import { formatAddress, type Address } from '@scistream/core';
import {
  dial,
  echo,
  eventually,
  read,
  receiveAll,
  sendWhile,
  tcpServer,
  type TestServer,
} from '@scistream/core/testing';

const PATIENCE_MS = 120_000;
const FRESH_BYTES = 256 * 1024;

/** A connection through a stream that carries about 10 MB/s in both directions, with a checksum at both ends. */
export interface Established {
  /** Resolves when data sent after this call has come back. */
  moves(): Promise<void>;
  /** Ends it. @returns Number of bytes that came back. @throws If they differ from what was sent. */
  finish(): Promise<number>;
  /** Whether it is still open. */
  readonly open: boolean;
}

/** The application behind the gateway, which sends everything back. */
export class Application implements AsyncDisposable {
  private constructor(private readonly server: TestServer) {}

  static async start(host?: string): Promise<Application> {
    return new Application(await tcpServer(echo, host));
  }

  /** host:port */
  get address(): string {
    return formatAddress(this.server.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Connects and sends until it is told to finish. */
export async function establish(entry: Address): Promise<Established> {
  const socket = await dial(entry);
  let going = true;
  let returned = 0;
  socket.on('data', (chunk: Buffer) => (returned += chunk.length));
  const ends = Promise.all([sendWhile(socket, () => going), receiveAll(socket)]);
  // finish() reports the error.
  ends.catch(() => undefined);
  const established: Established = {
    get open() {
      return !socket.destroyed;
    },
    async moves() {
      const goal = socket.bytesWritten + FRESH_BYTES;
      await eventually(() => {
        if (returned < goal && !socket.destroyed) throw new Error(`no data came through for ${PATIENCE_MS / 1000} s`);
      }, PATIENCE_MS);
      if (socket.destroyed) throw new Error(`the connection broke after ${returned} bytes`);
    },
    async finish() {
      going = false;
      const [sent, back] = await ends;
      if (sent.bytes !== back.bytes) throw new Error(`${sent.bytes - back.bytes} of ${sent.bytes} bytes were lost`);
      if (sent.sha256 !== back.sha256) throw new Error(`${sent.bytes} bytes came back with another checksum`);
      return sent.bytes;
    },
  };
  await established.moves();
  return established;
}

/** Sends a word to the {@link Application} on a new connection. @throws If it does not come back. */
export async function through(entry: Address): Promise<void> {
  const socket = await dial(entry);
  try {
    socket.write('word');
    const back = await read(socket, 4);
    if (back !== 'word') throw new Error(`${back} came back for a word`);
  } finally {
    socket.destroy();
  }
}

/** `38.2 MB` */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
