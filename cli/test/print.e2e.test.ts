// suite: full
/** `stream up --print`, for scripts. */
import { execFileSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamList } from '@scistream/core/client';
import { greeting, json, Producer, scistream, startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ facilities: Facilities; producer: Producer }>('stream up --print');

s.before(async (context) => {
  context.facilities = await startFacilities();
  context.producer = await Producer.start(context.facilities.host, 'first');
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await facilities.stop();
});

s('--print gives a script the addresses alone, or variables for the shell', async ({ facilities, producer }) => {
  const args = ['stream', 'up', 'tomo', '--producer', producer.address, '--print'];
  const { code, stdout, stderr } = await scistream(facilities, ...args, 'addresses');
  assert.equal([code, stderr], [0, '']);
  const [address = '', other = '', ...rest] = stdout.split('\n');
  assert.equal(rest, ['']);
  await Promise.all([address, other].map(carriesFirst));
  const variables = (await scistream(facilities, ...args, 'env')).stdout;
  const script = `${variables}\necho "$STREAM_UID $STREAM_NAME $STREAM_ADDRESSES"`;
  const [uid = '', name, listeners = ''] = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trim().split(' ');
  assert.is(name, 'tomo');
  await Promise.all(listeners.split(',').map(carriesFirst));
  const { streams } = await json<StreamList>(facilities, 0, 'stream', 'ls');
  assert.ok(streams.some((stream) => stream.uid === uid));
  await json(facilities, 0, 'stream', 'down', ...streams.map((stream) => stream.uid));
});

/** Checks that a consumer at this address reaches the producer. */
async function carriesFirst(address: string): Promise<void> {
  const { text, socket } = await greeting(address);
  assert.is(text, 'first');
  socket.destroy();
}

s.run();
