/** Liveness, readiness and the gRPC health service without credentials: at the start, while serving, at the end. */
import 'reflect-metadata';
import { EventEmitter, once, setMaxListeners } from 'node:events';
import { connect, type ClientHttp2Session } from 'node:http2';
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { container } from 'tsyringe';
import * as assert from 'uvu/assert';
import { silentLogger } from '@scistream/core';
import { loadConfig } from '@scistream/core/config';
import { MemoryStreamStore, registerServer, TOKENS, ControlServer } from '@scistream/core/internal';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '@scistream/core/wire';
import { freeRange } from '../../support/ports.js';
import { GATEWAY, LAN, TestServer, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('health');

const PATIENCE_MS = 30_000;
const AUTH = [{ use: 'token', tokens: [{ subject: 'alice', sha256: 'ab'.repeat(32) }] }];

interface Reply {
  readonly status: number | undefined;
  readonly json: { readonly status?: string; readonly reason?: string };
}

/** Over HTTP/1.1, on a new connection. */
async function get(url: string, method = 'GET'): Promise<Reply> {
  const call = request(url, { method, rejectUnauthorized: false, agent: false });
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode, json: text === '' ? {} : (JSON.parse(text) as Reply['json']) };
}

/** Over an existing connection. */
async function getOver(session: ClientHttp2Session, path: string): Promise<Reply> {
  const stream = session.request({ ':path': path });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return { status: Number(headers[':status']), json: JSON.parse(text) as Reply['json'] };
}

/** A health checker of gRPC, without credentials. */
const checker = (baseUrl: string) =>
  createClient(Health, createGrpcTransport({ baseUrl, nodeOptions: { rejectUnauthorized: false } }));

/** A store that opens and closes when the test tells it to. */
class GatedStore extends MemoryStreamStore {
  readonly #gates = new EventEmitter();
  readonly #opened = once(this.#gates, 'open');
  readonly #closed = once(this.#gates, 'close');

  let(what: 'open' | 'close'): void {
    this.#gates.emit(what);
  }

  override async open(): Promise<void> {
    await this.#opened;
  }

  override async close(): Promise<void> {
    await this.#closed;
  }
}

s('strangers learn that it lives and serves, and nothing more', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const { url } = server.peerOptions;
  assert.equal(await get(`${url}/livez`), { status: 200, json: { status: 'alive' } });
  assert.equal(await get(`${url}/readyz?verbose`), { status: 200, json: { status: 'ready' } });
  assert.equal(await get(`${url}/readyz`, 'HEAD'), { status: 200, json: {} });
  assert.is((await get(`${url}/readyz`, 'POST')).status, 405);
  const health = checker(url);
  for (const service of ['', 'scistream.Control', 'scistream.v1.Streams']) {
    assert.is((await health.check({ service })).status, Serving.SERVING, service);
  }
  const error: unknown = await health.check({ service: 'no.Such' }).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ConnectError && error.code === Code.NotFound);
  const unknown = health.watch({ service: 'no.Such' })[Symbol.asyncIterator]();
  assert.is(((await unknown.next()).value as { status: Serving }).status, Serving.SERVICE_UNKNOWN);
  await unknown.return?.();
});

s('watchers that disconnect make room for others', async () => {
  await using server = await TestServer.start();
  const health = checker(server.peerOptions.url);
  const leave = new AbortController();
  setMaxListeners(0, leave.signal);
  const begin = async (): Promise<Serving> => {
    for await (const { status } of health.watch({})) return status;
    throw new Error('a watch without an answer');
  };
  const held = Array.from({ length: 100 }, () => hold(health, leave.signal));
  await Promise.all(held.map(({ first }) => first));
  const error: unknown = await begin().catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ConnectError && error.code === Code.ResourceExhausted, String(error));
  assert.is((await health.check({})).status, Serving.SERVING);
  leave.abort();
  await eventually(async () => assert.is(await begin(), Serving.SERVING), PATIENCE_MS);
  await Promise.all(held.map(({ end }) => end));
});

s('a gateway that is down makes it degraded, not unready', async () => {
  await using directory = await temporaryDirectory();
  const s2ds = `unix:${join(directory.path, 'nobody.sock')}`;
  await using server = await TestServer.start({ s2ds });
  const { status, json } = await get(`${server.peerOptions.url}/readyz`);
  assert.equal([status, json.status], [200, 'degraded']);
});

s('not ready before streams are recovered and while stopping, but alive all the time', async () => {
  await using directory = await temporaryDirectory();
  const store = new GatedStore();
  const { server, url } = await compose(directory.path, store);
  const starting = server.start();
  await eventually(async () => assert.is((await get(`${url}/livez`)).status, 200), PATIENCE_MS);
  const early = await get(`${url}/readyz`);
  assert.equal([early.status, early.json.status], [503, 'starting']);
  assert.is((await get(`${url}/scistream.v1.Streams/DescribeServer`, 'POST').catch(() => early)).status, 503);
  const watch = checker(url).watch({})[Symbol.asyncIterator]();
  const seen = async (): Promise<Serving | undefined> => {
    const next = await watch.next();
    return next.done ? undefined : next.value.status;
  };
  assert.is(await seen(), Serving.NOT_SERVING);

  store.let('open');
  await starting;
  assert.is(await seen(), Serving.SERVING);
  assert.is((await get(`${url}/readyz`)).status, 200);
  const session = connect(url, { rejectUnauthorized: false });
  assert.is((await getOver(session, '/readyz')).status, 200);

  const stopping = server.stop();
  // From Node.js 24 on, a closing server also accepts nothing new on open connections.
  const late = await getOver(session, '/readyz').catch(() => 'refused' as const);
  if (late !== 'refused') {
    assert.equal([late.status, late.json.status], [503, 'stopping']);
    assert.is((await getOver(session, '/livez')).status, 200);
  }
  assert.is(await seen(), Serving.NOT_SERVING);
  assert.ok((await watch.next()).done, 'a watcher does not delay the end');
  store.let('close');
  session.close();
  await stopping;
});

/** Watches until the signal aborts. */
function hold(
  health: ReturnType<typeof checker>,
  signal: AbortSignal,
): { first: Promise<unknown>; end: Promise<unknown> } {
  const messages = health.watch({}, { signal })[Symbol.asyncIterator]();
  const first = messages.next();
  return { first, end: first.then(() => messages.next()).catch(() => undefined) };
}

async function compose(state: string, store: MemoryStreamStore): Promise<{ server: ControlServer; url: string }> {
  const { first, last } = await freeRange(17);
  const { config } = await loadConfig('s2cs', { env: {}, overrides: { state, listen: `127.0.0.1:${last}` } });
  const gateways = config.gateways.map((gateway) => ({
    ...gateway,
    name: GATEWAY,
    wan: WAN,
    lan: LAN,
    ports: { first, last: last - 1 },
  }));
  const own = container.createChildContainer();
  registerServer(own, { config: { ...config, gateways }, logger: silentLogger, plugins: [] });
  own.register(TOKENS.StreamStore, { useValue: store });
  return { server: own.resolve(ControlServer), url: `https://127.0.0.1:${last}` };
}

s.run();
