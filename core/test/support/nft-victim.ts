/** A process that releases a stream of `nft-proxy.ts` when a line arrives. Arguments: state, uid, port of the producer. */
import 'reflect-metadata';
import { once } from 'node:events';
import { SPEC, Site } from './gateway-site.js';
import { nftProvider } from './nft-proxy.js';

const [state = '', uid = '', port = ''] = process.argv.slice(2);
const site = new Site(state);
site.hosts = [nftProvider];
const gateway = await site.open();
const { listeners } = await gateway.reserve(uid, { ...SPEC, proxy: 'nft', runtime: '' });
await gateway.start(uid, new AbortController().signal);
await gateway.updateTargets(uid, [{ host: '127.0.0.1', port: Number(port) }], new AbortController().signal);
process.stdout.write(`${listeners[0]?.port}\n`);
await once(process.stdin, 'data');
await gateway.release(uid);
process.stdout.write('released\n');
