import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type ErrorCode } from '@scistream/core';
import { RangePortAllocator, type PortRequest, type ReservedListener } from '@scistream/core/internal';

const s = suite('port allocator');

/** An address that no other test file uses. */
const HOST = `127.77.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const RANGE = { first: 21_000, last: 21_005 };
const open: Server[] = [];

const request = (uid: string, count: number, more: Partial<PortRequest> = {}): PortRequest => ({
  uid,
  host: HOST,
  transport: 'tcp',
  count,
  ...more,
});

const ports = (listeners: readonly ReservedListener[]): number[] => listeners.map(({ address }) => address.port);

async function occupy(port: number, host = HOST): Promise<Server> {
  const server = createServer();
  open.push(server);
  server.listen({ host, port, exclusive: true });
  await once(server, 'listening');
  return server;
}

/** Whether a port can be bound. */
const isFree = (port: number): Promise<boolean> =>
  occupy(port).then(
    async (server) => {
      server.close();
      await once(server, 'close');
      return true;
    },
    () => false,
  );

async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> {
  const error: unknown = await promise.then(
    () => assert.unreachable(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code, error.message);
  return error;
}

s.after.each(async () => {
  for (const server of open.splice(0)) server.close();
});

s('a leased port is bound, listens, and has a descriptor to pass on', async () => {
  const allocator = new RangePortAllocator(RANGE);
  const listeners = await allocator.allocate(request('a', 3));
  assert.equal(ports(listeners), [21_000, 21_001, 21_002]);
  for (const { address, fd } of listeners) {
    assert.is(address.host, HOST);
    assert.type(fd, 'number');
    assert.not(await isFree(address.port));
    const socket = connect(address);
    await once(socket, 'connect');
    await once(socket.resume(), 'close');
  }
  assert.equal(
    allocator.inUse().map(({ uid, host, port }) => [uid, host, port]),
    [0, 1, 2].map((i) => ['a', HOST, 21_000 + i]),
  );
  await allocator.release('a');
  assert.equal(allocator.inUse(), []);
  for (const port of ports(listeners)) assert.ok(await isFree(port));
});

s('a port stays leased after its socket was handed over', async () => {
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_000 });
  const [listener] = await allocator.allocate(request('a', 1));
  await listener?.close();
  await listener?.close();
  assert.ok(await isFree(21_000), 'no program holds the port now');
  await refusal(allocator.allocate(request('b', 1)), 'SCI_PORTS_EXHAUSTED');
  await allocator.release('a');
  assert.equal(ports(await allocator.allocate(request('b', 1))), [21_000]);
  await allocator.release('b');
});

s('a repeated request gets the same ports, also while they are being leased', async () => {
  const allocator = new RangePortAllocator(RANGE);
  const [first, second] = await Promise.all([allocator.allocate(request('a', 2)), allocator.allocate(request('a', 2))]);
  assert.is(first, second);
  assert.is(await allocator.allocate(request('a', 2)), first);
  assert.is(allocator.inUse().length, 2);
  await allocator.release('a');
});

s('release is idempotent, waits for a running allocation, and affects no other stream', async () => {
  const allocator = new RangePortAllocator(RANGE);
  await allocator.release('nobody');
  await allocator.allocate(request('b', 1));
  const leasing = allocator.allocate(request('a', 4));
  await allocator.release('a');
  const leased = ports(await leasing);
  await allocator.release('a');
  assert.equal(
    allocator.inUse().map(({ uid }) => uid),
    ['b'],
  );
  for (const port of leased) assert.ok(await isFree(port));
  await allocator.release('b');
});

s('all or nothing: a failed request returns its ports and explains the failure', async () => {
  const allocator = new RangePortAllocator(RANGE);
  await occupy(21_002);
  await occupy(21_004, '0.0.0.0');
  const { message, suggestions } = await refusal(allocator.allocate(request('a', 5)), 'SCI_PORTS_EXHAUSTED');
  assert.match(message, /^5 ports .* 21000-21005, streams lease 0 and other programs use 2\.$/);
  assert.ok(suggestions.some((text) => text.includes('gateways[].ports')));
  assert.equal(allocator.inUse(), []);
  const all = await allocator.allocate(request('a', 4));
  assert.equal(ports(all).sort(), [21_000, 21_001, 21_003, 21_005]);
  const again = await refusal(allocator.allocate(request('b', 1)), 'SCI_PORTS_EXHAUSTED');
  assert.match(again.message, /streams lease 4 and other programs use 2/);
  await allocator.release('a');
});

s('of requests that together need too many ports, as many succeed as fit', async () => {
  const allocator = new RangePortAllocator(RANGE);
  const results = await Promise.allSettled(['a', 'b', 'c'].map((uid) => allocator.allocate(request(uid, 4))));
  assert.equal(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected'],
  );
  for (const uid of ['a', 'b', 'c']) await allocator.release(uid);
});

s('concurrent requests get disjoint ports', async () => {
  const allocator = new RangePortAllocator(RANGE);
  const uids = ['a', 'b', 'c', 'd', 'e', 'f'];
  const leased = await Promise.all(uids.map((uid) => allocator.allocate(request(uid, 1))));
  assert.equal(
    leased.flatMap(ports).sort(),
    [0, 1, 2, 3, 4, 5].map((i) => 21_000 + i),
  );
  for (const uid of uids) await allocator.release(uid);
});

s('a released port is reused last', async () => {
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_002 });
  const seen: number[] = [];
  for (let i = 0; i < 6; i += 1) {
    seen.push(...ports(await allocator.allocate(request('a', 1))));
    await allocator.release('a');
  }
  assert.equal(seen, [21_000, 21_001, 21_002, 21_000, 21_001, 21_002]);
});

s('ports of ended streams come last, the least recently released first, also in the next process', async () => {
  const range = { first: 21_000, last: 21_003 };
  const allocator = new RangePortAllocator(range);
  for (const uid of ['a', 'b', 'c']) await allocator.allocate(request(uid, 1));
  const stored = [...(await allocator.retire('b')), ...(await allocator.retire('a')), ...(await allocator.retire('c'))];
  assert.equal(
    stored.map(({ port }) => port),
    [21_001, 21_000, 21_002],
  );
  assert.equal(
    ports(await allocator.allocate(request('d', 2))),
    [21_003, 21_001],
    'a free port, then the first released',
  );
  await allocator.release('d');

  const reused: number[] = [];
  const next = new RangePortAllocator(range, 600_000, (ports) => reused.push(...ports));
  next.rest(stored);
  assert.equal(ports(await next.allocate(request('d', 1))), [21_003]);
  assert.equal(
    [ports(await next.allocate(request('e', 2))), reused],
    [
      [21_001, 21_000],
      [21_001, 21_000],
    ],
  );
  for (const uid of ['d', 'e']) await next.release(uid);
});

s('ports continue to rest after a request that fails because too few ports are free', async () => {
  const reused: number[][] = [];
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_001 }, 600_000, (ports) =>
    reused.push([...ports]),
  );
  await allocator.allocate(request('a', 1));
  await allocator.retire('a');
  await refusal(allocator.allocate(request('b', 3)), 'SCI_PORTS_EXHAUSTED');
  assert.equal(ports(await allocator.allocate(request('c', 1))), [21_001], 'the port that does not rest');
  assert.equal(reused, []);
  await allocator.release('c');
});

s('after its rest, a port is leased like any other', async () => {
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_001 }, 1, () => assert.unreachable('no reuse'));
  const since = new Date(Date.now() - 1000).toISOString();
  allocator.rest([
    { port: 21_000, since },
    { port: 30_000, since: new Date().toISOString() },
  ]);
  assert.equal(ports(await allocator.allocate(request('a', 2))), [21_000, 21_001]);
  await allocator.release('a');
});

s('no other stream gets the ports that a failed stream keeps, until it frees them or its time ends', async () => {
  const range = { first: 21_000, last: 21_001 };
  const allocator = new RangePortAllocator(range);
  await allocator.allocate(request('a', 1));
  await allocator.retire('a', new Date(Date.now() + 60_000).toISOString());
  assert.is(allocator.taken, 1);
  const { message } = await refusal(allocator.allocate(request('b', 2)), 'SCI_PORTS_EXHAUSTED');
  assert.match(message, /failed streams keep 1/);
  assert.equal(
    allocator.free('a').map(({ port }) => port),
    [21_000],
  );
  assert.equal(ports(await allocator.allocate(request('b', 2))), [21_001, 21_000]);
  assert.equal(allocator.free('a'), [], 'it no longer has them');
  await allocator.release('b');

  const next = new RangePortAllocator(range);
  const since = new Date(Date.now() - 60_000).toISOString();
  next.rest([{ port: 21_000, since, kept: { uid: 'a', until: new Date(Date.now() - 1).toISOString() } }]);
  assert.equal(ports(await next.allocate(request('b', 2))), [21_001, 21_000]);
  await next.release('b');
});

s('UDP: bound, without a descriptor, not shared with TCP', async () => {
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_001 });
  const [listener] = await allocator.allocate(request('a', 1, { transport: 'udp' }));
  assert.equal([listener?.fd, listener?.address.port], [undefined, 21_000]);
  const other = createSocket('udp4').bind({ address: HOST, port: 21_000, exclusive: true });
  const [error] = (await once(other, 'error')) as [NodeJS.ErrnoException];
  assert.is(error.code, 'EADDRINUSE');
  assert.equal(ports(await allocator.allocate(request('b', 1))), [21_001]);
  await allocator.release('a');
  await allocator.release('b');
});

s('UDP: ports of other programs cost no descriptor', async () => {
  const allocator = new RangePortAllocator({ first: 21_000, last: 21_000 });
  const other = createSocket('udp4').bind({ address: HOST, port: 21_000, exclusive: true });
  await once(other, 'listening');
  const descriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
  await refusal(allocator.allocate(request('a', 1, { transport: 'udp' })), 'SCI_PORTS_EXHAUSTED');
  const before = await descriptors();
  for (let i = 0; i < 20; i += 1) {
    await refusal(allocator.allocate(request('a', 1, { transport: 'udp' })), 'SCI_PORTS_EXHAUSTED');
  }
  assert.ok((await descriptors()) < before + 10);
  other.close();
});

s('an address of another machine fails with its own error, and leases nothing', async () => {
  const allocator = new RangePortAllocator(RANGE);
  const { message } = await refusal(
    allocator.allocate(request('a', 2, { host: '203.0.113.77' })),
    'SCI_LISTENER_ADDRESS',
  );
  assert.match(message, /203\.0\.113\.77 port 21000: EADDRNOTAVAIL/);
  assert.equal(allocator.inUse(), []);
  assert.is((await allocator.allocate(request('a', 6))).length, 6, 'the request can be repeated');
  await allocator.release('a');
});

s.run();
