import { once } from 'node:events';
import { createServer } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Control } from '@scistream/core/wire';

/** A control server that knows only the four calls of the existing protocol, and ignores unknown fields. */
export interface OldServer extends AsyncDisposable {
  /** host:port, plain text. */
  readonly address: string;
  /** Names of the calls so far. */
  readonly calls: readonly string[];
  /** Uids of the streams that exist. */
  readonly streams: ReadonlySet<string>;
}

/** Starts a server whose streams have one listener. @param port Port of that listener */
export async function oldServer(port: number): Promise<OldServer> {
  const calls: string[] = [];
  const streams = new Set<string>();
  const listeners = [`127.0.0.1:${port}`];
  const server = createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(Control, {
          req({ uid }) {
            calls.push('req');
            streams.add(uid);
            return { listeners };
          },
          hello() {
            calls.push('hello');
            return {};
          },
          update({ remoteListeners }) {
            calls.push('update');
            return { listeners, prodListeners: remoteListeners };
          },
          release({ uid }) {
            calls.push('release');
            if (!streams.delete(uid)) throw new ConnectError('unknown uid', Code.NotFound);
            return {};
          },
        }),
    }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: own } = server.address() as { port: number };
  return {
    address: `127.0.0.1:${own}`,
    calls,
    streams,
    [Symbol.asyncDispose]: () => Promise.resolve(void server.close()),
  };
}
