import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { toAddress } from './server.js';

/** A network path that carries no answers to the client. */
export interface DeafPath extends AsyncDisposable {
  /** `host:port` for the client. */
  readonly address: string;
  /** Also loses everything that the client sends, its close included. */
  block(): void;
  /** Closes the connections, and carries new ones in both directions. */
  repair(): void;
}

/** A TCP forwarder that carries requests and loses answers. @param target `host:port` */
export async function deafPath(target: string): Promise<DeafPath> {
  let state: 'deaf' | 'blocked' | 'repaired' = 'deaf';
  const sockets = new Set<Socket>();
  const hangUp = (): void => sockets.forEach((socket) => socket.destroy());
  const server = createServer((near) => {
    const far = connect(toAddress(target));
    for (const socket of [near, far]) sockets.add(socket.on('error', () => undefined));
    if (state === 'repaired') {
      near.pipe(far).pipe(near);
      return;
    }
    near.on('data', (data) => state === 'deaf' && far.write(data));
    far.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    block: () => (state = 'blocked'),
    repair: () => {
      state = 'repaired';
      hangUp();
    },
    [Symbol.asyncDispose]: async () => {
      hangUp();
      server.close();
      await once(server, 'close');
    },
  };
}
