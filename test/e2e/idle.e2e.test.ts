// needs: haproxy, nginx, stunnel, docker, root
// suite: full
/**
 * Silence must not end a connection: the Python programs close it after 50 s (peers.md §1.7). Two connections through a
 * chain of two gateways, one of them half-closed, are silent for two minutes and then still carry data.
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

interface Chain {
  readonly check: () => Promise<void>;
  readonly close: () => Promise<void>;
}

async function begin(proxy: ProxyId, runtime: RuntimeId): Promise<Chain> {
  const setup = setupOf(proxy, runtime);
  // stunnel has no plain streams, so each gateway of its chain is an encrypted pair.
  const paired = proxy === 'stunnel' ? { far: setup.create } : undefined;
  const env = await ProxyEnvironment.open({ ...setup, paired });
  // Sends what it has read, even after the other side has ended, and ends only after the silence.
  const server = await env.server((socket) => socket.on('data', (chunk) => socket.write(chunk)));
  const inbound = await env.startTo(server);
  const outbound = await env.startTo(inbound.address);
  const [quiet, halfClosed] = await Promise.all([env.dial(outbound.address), env.dial(outbound.address)]);
  quiet.write('before');
  halfClosed.end('ended');
  assert.is(await read(quiet, 6), 'before');
  const check = async (): Promise<void> => {
    quiet.write('after');
    assert.is(await read(quiet, 5), 'after', `${proxy} on ${runtime}`);
    assert.is(await read(halfClosed, 5), 'ended', `${proxy} on ${runtime}`);
    assert.not.ok(halfClosed.readableEnded || halfClosed.destroyed, `${proxy} on ${runtime}: half-closed, then closed`);
  };
  return { check, close: () => env.close() };
}

const s = suite('idle');
s.after(closeEngine);

s('two minutes of silence end no connection, in any proxy', async () => {
  const chains: Chain[] = [];
  const results: PromiseSettledResult<void>[] = [];
  try {
    // One after another, because all use ports of one range.
    for (const [proxy, runtime] of CELLS) chains.push(await begin(proxy, runtime));
    await silence(SILENCE_MS);
    results.push(...(await Promise.allSettled(chains.map(({ check }) => check()))));
  } finally {
    for (const { close } of chains) results.push(...(await Promise.allSettled([close()])));
  }
  for (const result of results) if (result.status === 'rejected') throw result.reason;
});

s.run();
