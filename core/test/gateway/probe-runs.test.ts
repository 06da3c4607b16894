/** Limits of probes, so that a gateway is no port scanner. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ProbeRuns, probeSockets } from '@scistream/core/internal';
import { expectCode } from '@scistream/core/testing';

const s = suite('probe runs');

/** Connections that stay open until they are told to end. */
function connections() {
  const open: (() => void)[] = [];
  let most = 0;
  const connect = (): Promise<boolean> =>
    new Promise((resolve) => {
      most = Math.max(
        most,
        open.push(() => resolve(true)),
      );
    });
  /** Ends all connections that are open, and those that follow them. */
  const drain = async (): Promise<void> => {
    for (let quiet = 0; quiet < 20; quiet = open.length > 0 ? 0 : quiet + 1) {
      for (const end of open.splice(0)) end();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { connect, drain, most: () => most, open: () => open.length };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

s('one stream has four connections at a time, and one run', async () => {
  const far = connections();
  const runs = new ProbeRuns('stream-0001', probeSockets());
  const probe = (): Promise<readonly (boolean | undefined)[]> =>
    runs.run((dial) => Promise.all(Array.from({ length: 64 }, () => dial(far.connect))));
  const calls = Array.from({ length: 8 }, probe);
  await settle();
  assert.is(far.open(), 4);
  await far.drain();
  assert.is((await Promise.all(calls)).flat().length, 8 * 64);
  assert.is(far.most(), 4);
});

s('further calls for a stream are rejected, and accepted again later', async () => {
  const far = connections();
  const runs = new ProbeRuns('stream-0001', probeSockets());
  const probe = (): Promise<unknown> => runs.run((dial) => dial(far.connect));
  const calls = Array.from({ length: 8 }, probe);
  await expectCode('SCI_LIMIT_REACHED', probe());
  await far.drain();
  await Promise.all(calls);
  const next = probe();
  await settle();
  await far.drain();
  assert.is(await next, true);
});

s('all streams of a gateway have 64 connections at a time', async () => {
  const far = connections();
  const sockets = probeSockets();
  const calls = Array.from({ length: 40 }, (_, i) =>
    new ProbeRuns(`stream-${i}`, sockets).run((dial) =>
      Promise.all(Array.from({ length: 8 }, () => dial(far.connect))),
    ),
  );
  await settle();
  assert.is(far.open(), 64);
  await far.drain();
  await Promise.all(calls);
  assert.is(far.most(), 64);
});

s.run();
