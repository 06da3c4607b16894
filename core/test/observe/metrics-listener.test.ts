/** The listener of metrics while the gateways cannot describe themselves. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '@scistream/core';
import { Metrics, serveMetrics } from '@scistream/core/internal';
import { freeRange } from '@scistream/core/testing';

const s = suite('metrics listener');

s('a scrape that fails gets 503, and the next one gets the metrics', async () => {
  let broken = true;
  const gateways = () => (broken ? Promise.reject(new Error('no answer')) : Promise.resolve([]));
  const metrics = new Metrics({ gateways, streams: () => [] });
  const { first: port } = await freeRange(1);
  const close = await serveMetrics(metrics, { host: '127.0.0.1', port }, silentLogger);
  try {
    const url = `http://127.0.0.1:${port}/metrics`;
    assert.is((await fetch(url)).status, 503);
    broken = false;
    assert.is((await fetch(url)).status, 200);
  } finally {
    await close();
    await close();
  }
});

s.run();
