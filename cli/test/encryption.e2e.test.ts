import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamStatus } from '@scistream/core/client';
import { greeting, json, Producer, scistream, startFacilities, type Facilities } from './support/facilities.js';

interface Up extends StreamStatus {
  readonly ticket?: string;
}

interface Failure {
  readonly error: { readonly code: string };
}

const s = suite<{ facilities: Facilities; producer: Producer }>('encryption of streams');

s.before(async (context) => {
  context.facilities = await startFacilities();
  context.producer = await Producer.start(context.facilities.host, 'data');
});
s.after(async ({ facilities, producer }) => {
  await producer.stop();
  await facilities.stop();
});

s('a stream without encryption is marked, and both sides must agree', async ({ facilities, producer }) => {
  const plain = ['--encryption', 'none'];
  const made = await scistream(facilities, 'stream', 'up', 'tomo', '--producer', producer.address, ...plain);
  assert.match(made.stdout, 'Data between the gateways is not encrypted.');
  const status = await json<StreamStatus>(facilities, 0, 'stream', 'status', 'tomo');
  assert.is(status.encryption, 'none');
  assert.is(status.restarts, 0);
  await json(facilities, 0, 'stream', 'down', 'tomo');

  const inbound = ['stream', 'up', '--inbound', '--from', 'aps', '--producer', producer.address];
  const outbound = (ticket = ''): string[] => ['stream', 'up', '--to', 'alcf', '--outbound', ticket];
  const open = await json<Up>(facilities, 0, ...inbound, ...plain);
  const other = await json<Failure>(facilities, 2, ...outbound(open.ticket));
  assert.is(other.error.code, 'SCI_USAGE', 'both sides must request it');
  assert.is((await json<Up>(facilities, 0, ...outbound(open.ticket), ...plain)).encryption, 'none');
  await json(facilities, 0, 'stream', 'down', open.uid);

  const secret = await json<Up>(facilities, 0, ...inbound);
  assert.is((await json<Failure>(facilities, 2, ...outbound(secret.ticket), ...plain)).error.code, 'SCI_USAGE');
  await json(facilities, 0, 'stream', 'down', secret.uid);
});

s('the inbound gateway rejects connections without the credentials', async ({ facilities, producer }) => {
  const inbound = ['stream', 'up', '--inbound', '--from', 'aps', '--producer', producer.address];
  const { uid, from } = await json<StreamStatus>(facilities, 0, ...inbound);
  const before = producer.connections;
  const got = await greeting(from?.listeners[0] ?? '', 'GET / HTTP/1.0\r\n\r\n').catch(() => undefined);
  assert.not.match(got?.text ?? '', 'data');
  got?.socket.destroy();
  assert.is(producer.connections, before, 'nothing reaches the producer');
  await json(facilities, 0, 'stream', 'down', uid);
});

s.run();
