// needs: haproxy, nginx, stunnel, docker, root
/**
 * Silence must not end a connection: the Python programs cut it after 50 s (peers.md §1.7). Two connections through a
 * chain of two gateways, one of them half-closed, say nothing for two minutes and then still carry data.
 */
import { setTimeout as silence } from 'node:timers/promises';
import { ProxyEnvironment, read } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { closeEngine } from '../contract/engines.js';
import { setupOf, type ProxyId, type RuntimeId } from '../contract/support.js';

const SILENCE_MS = 121_000;

const CELLS: readonly (readonly [ProxyId, RuntimeId])[] = [
  ['relay', 'process'],
  ['haproxy', 'process'],
  ['nginx', 'process'],
  ['stunnel', 'process'],
  ['haproxy', 'docker'],
];

async function staysOpen(proxy: ProxyId, runtime: RuntimeId): Promise<void> {
  const setup = setupOf(proxy, runtime);
  // stunnel knows no plain stream, so each gateway of its chain is an encrypted pair.
  const env = await ProxyEnvironment.open({
    ...setup,
    ...(proxy === 'stunnel' ? { paired: { far: setup.create } } : {}),
  });
  try {
    // Says what it has heard, also after the other side has ended, and only ends when the silence is over.
    const server = await env.server((socket) => socket.on('data', (chunk) => socket.write(chunk)));
    const inbound = await env.startTo(server);
    const outbound = await env.startTo(inbound.address);
    const [quiet, halfClosed] = await Promise.all([env.dial(outbound.address), env.dial(outbound.address)]);
    quiet.write('before');
    halfClosed.end('ended');
    assert.is(await read(quiet, 6), 'before');
    await silence(SILENCE_MS);
    quiet.write('after');
    assert.is(await read(quiet, 5), 'after', `${proxy} on ${runtime}`);
    assert.is(await read(halfClosed, 5), 'ended', `${proxy} on ${runtime}`);
    assert.not.ok(halfClosed.readableEnded || halfClosed.destroyed, `${proxy} on ${runtime}: half-closed, then cut`);
  } finally {
    await env.close();
  }
}

const s = suite('idle');
s.after(closeEngine);

s('two minutes of silence end no connection, in any proxy', async () => {
  const results = await Promise.allSettled(CELLS.map(([proxy, runtime]) => staysOpen(proxy, runtime)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
});

s.run();
