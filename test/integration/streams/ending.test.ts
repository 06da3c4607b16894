// suite: full
/** A watch near the end of the lifetime of a stream: it reports the end 10 minutes before, without a change of state. */
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { endsInMs, resolveEndpoint, S2UC } from '@scistream/core/client';
import { named, tcpServer } from '@scistream/core/testing';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('ending');

const TEN_MINUTES = 10 * 60_000;
/** Longer than the set-up of a stream takes. */
const BEFORE_MS = 20_000;

const endpointOf = ({ listening: { address, fingerprint = '' } }: TestServer) =>
  resolveEndpoint(address, {}, { fingerprint });

s('a watch reports a stream again 10 minutes before its end', async () => {
  await using inbound = await TestServer.start();
  await using outbound = await TestServer.start();
  await using target = await tcpServer(named('t'));
  await using client = new S2UC({}, { stateDir: inbound.state });
  const stream = await client.up({
    from: endpointOf(inbound),
    to: endpointOf(outbound),
    producer: [formatAddress(target.address)],
    lifetimeMs: TEN_MINUTES + BEFORE_MS,
    waitMs: 60_000,
  });
  const seen: (number | undefined)[] = [];
  for await (const status of stream.watch(AbortSignal.timeout(120_000))) {
    seen.push(endsInMs(status));
    if (seen.at(-1) !== undefined) break;
  }
  assert.is(seen[0], undefined);
  assert.ok((seen.at(-1) ?? Infinity) <= TEN_MINUTES);
  await stream.down();
});

s.run();
