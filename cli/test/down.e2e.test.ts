// suite: full
/** `stream down` with several streams, of which some are not released. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamStatus } from '@scistream/core/client';
import { cleanUp, json, Producer, scistream, startFacilities, type Facilities } from './support/facilities.js';

interface Failure {
  readonly error: { readonly code: string };
}

interface Down extends Failure {
  readonly released: readonly { readonly uid: string }[];
  readonly failed: readonly (Failure & { readonly ref: string })[];
}

const s = suite<{ facilities: Facilities; producer: Producer }>('down of several streams');

s.before(async (context) => {
  context.facilities = await startFacilities();
  context.producer = await Producer.start(context.facilities.host, 'first');
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await cleanUp(facilities);
  await facilities.stop();
});

s('the document has the released streams and every failure', async ({ facilities, producer }) => {
  const { uid } = await json<StreamStatus>(facilities, 0, 'stream', 'up', 'tomo', '--producer', producer.address);
  const refs = ['absent', 'tomo', 'absent-too'];
  const { released, failed, error } = await json<Down>(facilities, 4, 'stream', 'down', ...refs);
  assert.is(error.code, 'SCI_STREAM_NOT_FOUND');
  assert.equal(
    released.map((one) => one.uid),
    [uid],
  );
  assert.equal(
    failed.map((one) => [one.ref, one.error.code]),
    [
      ['absent', 'SCI_STREAM_NOT_FOUND'],
      ['absent-too', 'SCI_STREAM_NOT_FOUND'],
    ],
  );
});

s('the text has one error for each stream', async ({ facilities }) => {
  const { code, stderr } = await scistream(facilities, 'stream', 'down', 'absent', 'absent-too');
  assert.equal([code, stderr.match(/SCI_STREAM_NOT_FOUND/g)?.length], [4, 2]);
});

s.run();
