import { createServer } from 'node:net';
import { freeRange } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const s = suite('ports for tests');

s('concurrent calls return disjoint ranges of free ports', async () => {
  const ranges = await Promise.all(Array.from({ length: 20 }, () => freeRange(40)));
  const ports = ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  assert.is(ports.length, 20 * 40);
  assert.is(new Set(ports).size, ports.length);
  for (const { last: port } of ranges) {
    await new Promise<void>((resolve, reject) => {
      const server = createServer().once('error', reject);
      server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve()));
    });
  }
});

s.run();
