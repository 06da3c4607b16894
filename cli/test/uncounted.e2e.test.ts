// needs: nginx
// suite: full
/** A stream whose proxies do not count traffic: commands make no claims about its connections. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '@scistream/core/internal';
import type { StreamStatus } from '@scistream/core/client';
import { exchange } from '@scistream/core/testing';
import { cleanUp, json, Producer, scistream, startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ facilities: Facilities; producer: Producer }>('streams without traffic counters');

s.before(async (context) => {
  context.facilities = await startFacilities();
  context.producer = await Producer.start(context.facilities.host, 'first');
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await cleanUp(facilities);
  await facilities.stop();
});

s('a stream without counters does not report zero traffic', async ({ facilities, producer }) => {
  const args = ['tomo', '--producer', producer.address, '--proxy', 'nginx'];
  const { connect } = await json<StreamStatus>(facilities, 0, 'stream', 'up', ...args);
  assert.match(await exchange(parseAddress(connect[0] ?? ''), 'data'), 'first');
  const { stdout } = await scistream(facilities, 'stream', 'status', 'tomo');
  assert.match(
    stdout,
    /traffic and failures not counted\n.*traffic and failures not counted\n {2}Ready; whether a consumer/,
  );
  const { hops } = await json<StreamStatus>(facilities, 0, 'stream', 'status', 'tomo');
  assert.equal(
    hops.map(({ counted }) => counted),
    [false, false],
  );
  assert.match((await scistream(facilities, 'stream', 'down', 'tomo')).stdout, /^Released tomo \([0-9a-f]{6}…\)\.\n$/);
});

s.run();
