/** Wall clocks that jump. */
import { writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import type { Fault } from './fault.js';
import { compiled, PATIENCE_MS, Site } from './site.js';
import { megabytes } from './traffic.js';

const HOUR_MS = 3_600_000;

/** A daemon whose wall clock can be set. */
async function clock() {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'offset');
  const preload = pathToFileURL(compiled('wrong-clock.js')).href;
  return {
    prefix: ['env', `SCISTREAM_TEST_CLOCK=${file}`, `NODE_OPTIONS=--import=${preload}`],
    /** @param offsetMs How far the clock is ahead from now on. */
    jump: (offsetMs: number) => writeFile(file, String(offsetMs)),
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

/** Waiting requests, lifetimes and connections while the clock of the control server jumps. */
function jump(fault: string, offsetMs: number, short: boolean): Fault {
  return {
    fault,
    promised: 'no stream and no waiting REQ ends early or stays forever; no byte is lost; nothing left',
    short,
    needs: [],
    async run() {
      await using time = await clock();
      await using site = await Site.start({ prefix: time.prefix });
      const peer = await site.connect();
      const stream = await site.flowing(peer);
      const waiting = randomUUID();
      const asked = peer.control.req({ uid: waiting, role: 'PROD', numConn: 1, proxy: 'relay' });
      await site.reaches(peer, waiting, 'waiting');
      await time.jump(offsetMs);
      await stream.flow.moves();
      await peer.control.hello({ uid: waiting });
      assert.is((await asked).listeners.length, 1);
      // A stream that begins now has its full lifetime.
      const { uid } = await site.setUp(peer);
      for (const each of [waiting, uid]) await peer.control.release({ uid: each });
      return `a waiting REQ, a stream and a new stream continue; ${await site.conclude(peer, stream)}`;
    },
  };
}

const restarted: Fault = {
  fault: 'the clock jumps two days forward while S2CS is dead',
  promised: 'streams whose lifetime has expired are released at the next start; nothing left',
  short: false,
  needs: [],
  async run() {
    await using time = await clock();
    await using site = await Site.start({ prefix: time.prefix });
    const { uid, flow } = await site.flowing(await site.connect());
    await site.server.kill();
    await time.jump(48 * HOUR_MS);
    const bytes = await flow.finish();
    await site.server.again();
    const peer = await site.connect();
    await eventually(async () => assert.is((await peer.streams.get({ uid })).state, 'released'), PATIENCE_MS);
    await site.settles();
    return `0 of ${megabytes(bytes)} lost before the start; released after it; nothing left`;
  },
};

/** The faults of this group. */
export const clocks: readonly Fault[] = [
  jump('the clock jumps two days forward', 48 * HOUR_MS, true),
  jump('the clock jumps two days back', -48 * HOUR_MS, false),
  restarted,
];
