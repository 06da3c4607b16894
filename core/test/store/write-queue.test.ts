/** Batches of writes, full disks and owed writes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WriteQueue, type Write } from '@scistream/core/internal';
import { eventually } from '@scistream/core/testing';

const s = suite('write queue');

const put = (key: string): Write => ({ type: 'put', table: 't', key, value: 1 });

/** A disk that records the batches written to it. */
class Disk {
  readonly batches: string[] = [];
  full = false;
  readonly queue = new WriteQueue(async (changes, sync) => {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.full) throw new Error('no space left');
    this.batches.push(`${changes.map(({ key }) => key).join('')}${sync ? '!' : ''}`);
  });

  add(keys: string, options?: Parameters<WriteQueue['add']>[1]): Promise<void> {
    return this.queue.add([...keys].map(put), options);
  }
}

s('combines writes that arrive together or while the disk is busy, in order', async () => {
  const disk = new Disk();
  const first = Promise.all([disk.add('ab'), disk.add('c')]);
  await Promise.resolve();
  await Promise.resolve();
  await Promise.all([first, disk.add('d'), disk.add('e', { sync: false })]);
  assert.equal(disk.batches, ['abc!', 'de!']);
  await disk.add('f', { sync: false });
  assert.equal(disk.batches.at(-1), 'f');
  await disk.queue.close();
});

s('a failed write rejects and is not retried', async () => {
  const disk = new Disk();
  disk.full = true;
  const outcomes = await Promise.allSettled([disk.add('a'), disk.add('b')]);
  assert.equal(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  disk.full = false;
  await disk.add('c');
  assert.equal(disk.batches, ['c!']);
  await disk.queue.close();
});

s('an owed write never rejects and is written before later writes', async () => {
  const disk = new Disk();
  disk.full = true;
  await disk.add('a', { owed: true });
  const refused = await disk.add('b').then(
    () => 'written',
    () => 'refused',
  );
  assert.is(refused, 'refused');
  await disk.add('c', { owed: true });
  disk.full = false;
  await disk.add('d');
  assert.equal(disk.batches, ['acd!']);
  await disk.queue.close();
});

s('owed writes are retried until they succeed, at the latest on close', async () => {
  const disk = new Disk();
  disk.full = true;
  await disk.add('a', { owed: true });
  disk.full = false;
  await eventually(() => assert.equal(disk.batches, ['a!']), 60_000);
  disk.full = true;
  await disk.add('b', { owed: true });
  disk.full = false;
  await disk.queue.close();
  assert.equal(disk.batches, ['a!', 'b!']);

  disk.full = true;
  await disk.add('c', { owed: true });
  const closed = await disk.queue.close().then(
    () => 'as if nothing were owed',
    (error: unknown) => String(error),
  );
  assert.is(closed, 'Error: no space left');
});

s.run();
