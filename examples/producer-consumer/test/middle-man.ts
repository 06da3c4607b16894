import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { HEADER_BYTES, parseHeader } from '@scistream/example-producer-consumer';

/** Changes the list of frames of a whole stream; the closing frame is last. */
export type Change = (frames: Buffer[]) => Buffer[];

/** A TCP relay that reads a whole stream from the producer and forwards the result of `change` in `pieces`. */
export async function startMiddleMan(producerPort: number, change: Change, pieces: readonly number[] = [65536]) {
  const server = createServer((client) => {
    client.on('error', () => client.destroy());
    void relay(client, producerPort, change, pieces);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

async function relay(client: Socket, port: number, change: Change, pieces: readonly number[]): Promise<void> {
  const chunks: Buffer[] = [];
  const upstream = connect(port, '127.0.0.1');
  upstream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(upstream, 'end');
  client.setNoDelay(true);
  const bytes = Buffer.concat(change(splitFrames(Buffer.concat(chunks))));
  for (let at = 0, turn = 0; at < bytes.length && client.writable; turn++) {
    const size = pieces[turn % pieces.length] ?? bytes.length;
    // Awaiting each write keeps the pieces separate on the wire.
    await new Promise<void>((resolve) => client.write(bytes.subarray(at, at + size), () => resolve()));
    at += size;
  }
  client.end();
}

function splitFrames(stream: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < stream.length;) {
    const end = at + HEADER_BYTES + parseHeader(stream.subarray(at)).payloadBytes;
    frames.push(stream.subarray(at, end));
    at = end;
  }
  return frames;
}
