// needs: haproxy
/**
 * Silence must not end a connection: the Python programs cut it after 50 s (peers.md §1.7). Two connections through a
 * chain of two gateways, one of them half-closed, say nothing for a good minute and then still carry data.
 */
import { setTimeout as silence } from 'node:timers/promises';
import type { PluginContext, S2DS } from '@scistream/core';
import { RelayContainer, relayOptions } from '@scistream/core/server';
import { ProxyEnvironment, read } from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const SILENCE_MS = 61_000;

const PROXIES: Readonly<Record<string, (context: PluginContext) => S2DS>> = {
  relay: (context) => new RelayContainer(context, relayOptions.parse({})),
  haproxy: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})),
};

async function staysOpen(create: (context: PluginContext) => S2DS): Promise<void> {
  const env = await ProxyEnvironment.open({ create });
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
    assert.is(await read(quiet, 5), 'after');
    assert.is(await read(halfClosed, 5), 'ended');
    assert.not.ok(halfClosed.readableEnded || halfClosed.destroyed, 'the half-closed connection was cut');
  } finally {
    await env.close();
  }
}

const s = suite('idle');

s('a minute of silence ends no connection, in either proxy', async () => {
  await Promise.all(Object.values(PROXIES).map(staysOpen));
});

s.run();
