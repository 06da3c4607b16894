/**
 * Kills a gateway again and again while it releases a stream, and connects to every port that the next gateway gives to
 * another stream. Prints one line per round: how many connections reached the producer of the ended stream. Argument:
 * number of rounds.
 */
import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HOST, SPEC, withSite } from './gateway-site.js';
import { nftProvider } from './nft-proxy.js';

const VICTIM = fileURLToPath(new URL('./nft-victim.js', import.meta.url));
const ROUNDS = Number(process.argv[2]);
/** The longest time between the call of a release and the kill, ms. */
const LONGEST_MS = 40;
const ALL = 8;

let reached = 0;
const producer = createServer((socket) => {
  reached += 1;
  socket.destroy();
}).listen(0, '127.0.0.1');
await once(producer, 'listening');
const address = producer.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;

/** Connects once, and waits for the end of the connection. */
const attempt = (to: { readonly host: string; readonly port: number }): Promise<void> =>
  new Promise((resolve) => {
    connect(to)
      .on('error', () => undefined)
      .on('close', () => resolve())
      .resume();
  });

for (let round = 0; round < ROUNDS; round += 1) {
  await withSite(async (site) => {
    const uid = randomUUID();
    const victim = spawn(process.execPath, [VICTIM, site.state, uid, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, SITE_HOST: HOST },
    });
    const [ready] = (await once(victim.stdout, 'data')) as [Buffer];
    reached = 0;
    await attempt({ host: HOST, port: Number(String(ready)) });
    if (reached !== 1) throw new Error('the stream does not forward');
    victim.stdin.write('go\n');
    // The moment of the kill: it depends on nothing.
    await sleep((round / ROUNDS) * LONGEST_MS);
    victim.kill('SIGKILL');
    await once(victim, 'close');

    // In every other round the plugin is gone.
    site.hosts = round % 2 === 0 ? [nftProvider] : [];
    const next = await site.open();
    await next.release(uid).catch(() => undefined);
    const { portsInUse } = await next.describe();
    const { listeners } = await next.reserve(randomUUID(), { ...SPEC, connections: ALL - portsInUse });
    reached = 0;
    for (const listener of listeners) await attempt(listener);
    process.stdout.write(`${reached} of ${listeners.length}\n`);
    await next.close();

    site.hosts = [nftProvider];
    const last = await site.open();
    await last.release(uid);
    await last.close();
  });
}
producer.close();
