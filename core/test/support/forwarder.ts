/** Program of the proxy in `host-proxy.ts`: forwards connections of its listeners to the target in its file. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';

/** How long a forwarder runs at most, ms, if a test leaves it behind. */
const LIFETIME_MS = 300_000;

const [file = '', ...addresses] = process.argv.slice(2);

await Promise.all(
  addresses.map(async (address) => {
    const [host = '', port = ''] = address.split(' ');
    const server = createServer((client) => {
      void readFile(`${file}.target`, 'utf8').then(
        (target) => {
          const [to = '', number = ''] = target.split(' ');
          const upstream = connect(Number(number), to);
          pipeline(client, upstream, client, () => undefined);
        },
        () => client.destroy(),
      );
    });
    await new Promise<void>((resolve) => server.listen(Number(port), host, resolve));
  }),
);
await writeFile(`${file}.new`, `${process.pid}\n`);
await rename(`${file}.new`, `${file}.pid`);
setTimeout(() => process.exit(0), LIFETIME_MS);
