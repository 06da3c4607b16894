import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { within } from '../contracts/wait.js';
import { exchange, named } from './network.js';
import { type ProxyCases, listener } from './proxy-environment.js';
import { eventually } from './support.js';

/** Another address of this machine. */
const STRANGER = '127.0.0.9';
/** More connections than haproxy and stunnel serve by default. */
const CROWD = 600;
/** Shorter than the time-outs of idle connections, and far longer than the deadline of a handshake. */
const DEADLINE_MS = 20_000;
/** A proxy without room lets a client wait. */
const ATTEMPT_MS = 2_000;

/** Clients that connect to the inbound listener of an encrypted stream and send nothing. */
export const strangerCases: ProxyCases = {
  'over TLS: silent strangers of another source do not keep the other gateway out': async (env) => {
    if (!env.runtime.supports.hostNetwork) return;
    const { uid, address } = await env.startTo(await env.server(named('a')));
    assert.equal(await exchange(address, 'first'), 'afirst');
    const far = listener(env.pair(uid).far);
    const crowd: Socket[] = [];
    try {
      for (let i = 0; i < CROWD; i += 1) {
        const socket = connect({ ...far, localAddress: STRANGER }).on('error', () => undefined);
        crowd.push(socket);
        await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
      }
      const enter = (): Promise<string> => within(exchange(address, 'x'), ATTEMPT_MS, () => new Error('no answer'));
      await eventually(async () => assert.equal(await enter(), 'ax'), DEADLINE_MS);
    } finally {
      for (const socket of crowd) socket.destroy();
    }
  },
};
