/** The metrics of a control server, as Prometheus reads them. */
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { freeRange } from '../../support/ports.js';
import { ended } from '../../support/raw-client.js';
import { GATEWAY, TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('metrics');

const start = async (): Promise<{ server: TestServer; url: string }> => {
  const { first: port } = await freeRange(1);
  const server = await TestServer.start({ metrics: { host: '127.0.0.1', port }, ports: 8 });
  return { server, url: `http://127.0.0.1:${port}/metrics` };
};

/** The samples by name and labels, as text. Fails on lines that are not in the text format of Prometheus. */
async function scrape(url: string): Promise<Readonly<Record<string, number>>> {
  const response = await fetch(url);
  assert.is(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  const samples: Record<string, number> = {};
  for (const line of text.split('\n').filter((line) => line !== '' && !/^# (HELP|TYPE) [a-z][a-z0-9_]* ./.test(line))) {
    const [, key = '', value] = /^([a-z][a-z0-9_]*(?:\{[^{}]*\})?) (\S+)$/.exec(line) ?? [];
    assert.ok(key && value !== undefined && !(key in samples), line);
    samples[key] = Number(value);
  }
  return samples;
}

s('streams, gateways and calls are counted, and no label names a stream, a caller or an address', async () => {
  const { server, url } = await start();
  await using _server = server;
  const { uid } = await server.setUp();
  await refused(server.peer.streams.get({ uid: randomUUID() }), 'SCI_STREAM_NOT_FOUND');
  const samples = await scrape(url);
  const gateway = `gateway="${GATEWAY}"`;
  const expected = {
    [`scistream_gateway_up{${gateway}}`]: 1,
    [`scistream_gateway_drained{${gateway}}`]: 0,
    [`scistream_gateway_ports{${gateway}}`]: 8,
    [`scistream_gateway_ports_in_use{${gateway}}`]: 1,
    [`scistream_streams{${gateway},proxy="relay",runtime="process",state="provisioned"}`]: 1,
    'scistream_calls_total{rpc="Get",code="SCI_STREAM_NOT_FOUND"}': 1,
    'scistream_calls_total{rpc="req",code="ok"}': 1,
    'scistream_call_duration_seconds_count{rpc="req"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) assert.is(samples[name], value, name);
  assert.ok((samples['process_resident_memory_bytes'] ?? 0) > 0);
  for (const key of Object.keys(samples)) assert.not.match(key, new RegExp(`${uid}|anonymous|127\\.0\\.0`));
  await server.peer.control.release({ uid });
  const after = await scrape(url);
  assert.is(after[`scistream_gateway_ports_in_use{${gateway}}`], 0);
  assert.not.ok(
    Object.keys(after).some((key) => key.startsWith('scistream_streams{')),
    'no stream is left',
  );
});

s('only GET /metrics is answered, and silent connections do not keep scrapers out', async () => {
  const { server, url } = await start();
  await using _server = server;
  assert.is((await fetch(new URL('/', url))).status, 404);
  assert.is((await fetch(url, { method: 'POST', body: 'x' })).status, 405);
  const silent: Socket[] = Array.from({ length: 32 }, () => connect(Number(new URL(url).port), '127.0.0.1'));
  await Promise.all(silent.map(ended));
  await eventually(async () => void (await scrape(url)), 20_000);
});

s('an address in use is named, and nothing of the control server stays', async () => {
  const { server, url } = await start();
  await using _server = server;
  const metrics = { host: '127.0.0.1', port: Number(new URL(url).port) };
  const error = await TestServer.start({ metrics }).then(
    () => undefined,
    (thrown: { code?: string; message?: string }) => thrown,
  );
  assert.is(error?.code, 'SCI_LISTEN_FAILED');
  assert.match(error?.message ?? '', `127.0.0.1:${metrics.port}`);
});

s.run();
