/** The control server as a daemon: its port, its protocols, its state directory, its end. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';
import { SciStreamError, within, type ErrorCode } from '@scistream/core';
import { dial, eventually, temporaryDirectory } from '@scistream/core/testing';
import { connectOverHttp1, refused } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { FACILITY, TestServer, toAddress } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('daemon');

/** Expects the server not to start, with this code. */
async function doesNotStart(starting: Promise<TestServer>, code: ErrorCode): Promise<SciStreamError> {
  const [result] = await Promise.allSettled([starting]);
  if (result?.status === 'fulfilled') {
    await result.value[Symbol.asyncDispose]();
    throw new Error(`expected ${code}, but it started`);
  }
  const reason: unknown = result?.reason;
  if (!SciStreamError.is(reason)) throw reason;
  assert.is(reason.code, code, reason.message);
  return reason;
}

async function lockOf(state: string): Promise<{ readonly pid: number; readonly startTime: string }> {
  return JSON.parse(await readFile(join(state, 'lock'), 'utf8')) as { pid: number; startTime: string };
}

s(
  'a state directory that cannot be created is rejected immediately; otherwise it is created with its parents',
  async () => {
    for (const state of ['/proc/nope', '/proc/nope/deeper', '/dev/null/state']) {
      const refusal = doesNotStart(TestServer.start({ state }), 'SCI_CONFIG_INVALID');
      assert.match((await within(refusal, 5_000, () => new Error(`${state}: no answer`))).message, state);
    }
    await using directory = await temporaryDirectory();
    const state = join(directory.path, 'one', 'two');
    for (let times = 0; times < 2; times += 1) {
      await using server = await TestServer.start({ state });
      assert.is(await server.stateOf(randomUUID()).catch(() => 'none'), 'none');
    }
    for (const each of [join(state, '..'), state]) assert.is((await stat(each)).mode & 0o777, 0o700);
  },
);

s('JSON over HTTP/1.1 on the TLS port, as curl sends it, errors included', async () => {
  await using server = await TestServer.start();
  const ca = await readFile(server.peerOptions.certificate);
  const post = async (
    path: string,
    body: string,
  ): Promise<{ status: number | undefined; code: unknown; json: unknown }> => {
    const options = { method: 'POST', ca, agent: false as const, headers: { 'content-type': 'application/json' } };
    const call = request(`${server.peerOptions.url}${path}`, options);
    call.end(body);
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode, code: response.headers['scistream-code'], json: JSON.parse(text) };
  };
  const { status, json } = await post('/scistream.v1.Streams/DescribeServer', '{}');
  assert.equal([status, (json as { facility: string }).facility], [200, FACILITY]);
  const uid = randomUUID();
  const req = post('/scistream.Control/req', JSON.stringify({ uid, role: 'CONS', numConn: 2 }));
  await post('/scistream.Control/hello', JSON.stringify({ uid }));
  assert.is(((await req).json as { listeners: string[] }).listeners.length, 2);
  const wrong = await post('/scistream.Control/release', JSON.stringify({ uid: randomUUID() }));
  assert.equal([wrong.status, wrong.code], [404, 'SCI_STREAM_NOT_FOUND']);
  assert.match(JSON.stringify(wrong.json), /"code":"not_found".*ErrorInfo/);
});

s('gRPC-Web and the Connect protocol on the same port, errors included', async () => {
  await using server = await TestServer.start();
  for (const protocol of ['grpc-web', 'connect'] as const) {
    const { control, streams } = await connectOverHttp1(protocol, server.peerOptions);
    assert.is((await streams.describeServer({})).facility, FACILITY);
    const uid = randomUUID();
    const req = control.req({ uid, role: 'PROD', numConn: 1 });
    await control.hello({ uid, prodListeners: ['10.0.0.1:1'] });
    assert.equal((await req).prodListeners, ['10.0.0.1:1'], protocol);
    await refused(control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_STREAM_EXISTS');
  }
});

s('TLS 1.3 with a certificate for the listen address, and its fingerprint', async () => {
  await using server = await TestServer.start();
  const { host, port } = toAddress(server.listening.address);
  const ca = await readFile(server.peerOptions.certificate);
  const socket = connectTls({ host, port, ca, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  assert.equal([socket.getProtocol(), socket.alpnProtocol], ['TLSv1.3', 'h2']);
  assert.is(server.listening.fingerprint, `sha256:${fingerprint256.replaceAll(':', '').toLowerCase()}`);
  socket.destroy();
  const old = connectTls({ host, port, ca, maxVersion: 'TLSv1.2' });
  const outcome = await once(old, 'secureConnect').catch((error: NodeJS.ErrnoException) => String(error.code));
  assert.match(String(outcome), /PROTOCOL_VERSION/);
  old.destroy();
});

s('a port in use is an error, and the state directory is free again', async () => {
  const stranger = createServer().listen({ host: '127.0.0.1', port: 0 });
  await once(stranger, 'listening');
  const listen = { host: '127.0.0.1', port: (stranger.address() as AddressInfo).port };
  await using directory = await temporaryDirectory();
  const error = await doesNotStart(TestServer.start({ listen, state: directory.path }), 'SCI_LISTEN_FAILED');
  assert.ok(error.message.includes(`127.0.0.1:${listen.port}`), error.message);
  await using other = await TestServer.start();
  const theirs = toAddress(other.listening.address);
  await doesNotStart(TestServer.start({ listen: theirs, state: directory.path }), 'SCI_LISTEN_FAILED');
  await doesNotStart(
    TestServer.start({ listen: { host: '203.0.113.99', port: 5000 }, auth: [{ use: 'none' }] }),
    'SCI_LISTEN_FAILED',
  );
  stranger.close();
  await using server = await TestServer.start({ listen, state: directory.path });
  assert.is(server.listening.address, `127.0.0.1:${listen.port}`);
});

s('an address that others can reach needs authentication', async () => {
  const listen = { host: '0.0.0.0', port: 0 };
  await doesNotStart(TestServer.start({ listen }), 'SCI_CONFIG_INVALID');
  // It is allowed if it is explicit, with a warning.
  await using directory = await temporaryDirectory();
  await using open = await TestServer.start({ listen, auth: [{ use: 'none' }], state: directory.path });
  assert.ok(open.log.lines.some(({ level, message }) => level === 'warn' && /authentication is off/.test(message)));
});

s('a state directory belongs to one daemon', async () => {
  await using first = await TestServer.start();
  const { state } = first;
  const error = await doesNotStart(TestServer.start({ state }), 'SCI_STATE_LOCKED');
  assert.match(error.message, new RegExp(`${process.pid}.*${state}`));
  await first.setUp();
  assert.is((await lockOf(state)).pid, process.pid, 'the lock is still the first one’s');
  await first.server.stop({ release: true });
  await using second = await TestServer.start({ state });
  await first.server.stop();
  assert.is((await lockOf(state)).pid, process.pid, 'a second stop of the first leaves the lock of the second');
  await second.setUp();
});

s('of daemons that start at the same time on one state directory, one runs', async () => {
  const range = await freeRange(1);
  for (let round = 0; round < 20; round += 1) {
    await using directory = await temporaryDirectory();
    // A lock as a crash leaves it, or none.
    if (round % 2 === 0) await writeFile(join(directory.path, 'lock'), JSON.stringify({ pid: 1, startTime: '-1' }));
    const starts = Array.from({ length: 4 }, () => TestServer.start({ state: directory.path, range }));
    const results = await Promise.allSettled(starts);
    const running = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const codes = results.flatMap((r) => (r.status === 'rejected' ? [(r.reason as SciStreamError).code] : []));
    for (const server of running) await server[Symbol.asyncDispose]();
    assert.equal([running.length, codes], [1, Array.from({ length: 3 }, () => 'SCI_STATE_LOCKED')]);
    const left = (await readdir(directory.path)).filter((name) => name.startsWith('lock'));
    assert.equal(left, []);
  }
});

s('the lock of a dead process is replaced, even if its pid is in use again or the file is damaged', async () => {
  await using directory = await temporaryDirectory();
  const lock = join(directory.path, 'lock');
  const stale = [
    JSON.stringify({ pid: process.pid, startTime: '1' }),
    JSON.stringify({ pid: 4_194_304, startTime: '1' }),
    '',
    '{"pid":',
  ];
  for (const content of stale) {
    await writeFile(lock, content);
    await using server = await TestServer.start({ state: directory.path });
    assert.is((await lockOf(server.state)).pid, process.pid);
    assert.is((await stat(lock)).mode & 0o777, 0o600);
  }
});

s('instances of an earlier daemon are removed at the start', async () => {
  await using directory = await temporaryDirectory();
  const stray = join(directory.path, 'process', 'scistream-old-0');
  await mkdir(stray, { recursive: true });
  const serverId = 'earlier';
  await writeFile(join(directory.path, 'owner'), serverId);
  const labels = { 'org.scistream.managed': 'true', 'org.scistream.gateway': 'dtn1', 'org.scistream.owner': serverId };
  await writeFile(join(stray, '.instance.json'), JSON.stringify({ labels, stopSignal: 'SIGTERM' }));
  await using server = await TestServer.start({ state: directory.path });
  assert.equal(await server.leftovers(), NOTHING);
});

s('stop with release ends waiting requests and watchers, releases every stream, and leaves nothing', async () => {
  await using directory = await temporaryDirectory();
  await using server = await TestServer.start({ state: directory.path });
  const { control, streams } = server.peer;
  const waiting = [randomUUID(), randomUUID(), randomUUID()];
  const ends = waiting.map((uid) => refused(control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_SHUTTING_DOWN'));
  const { uid, entry } = await server.setUp({ count: 2 });
  await streams.openProbe({ uid });
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { state } of streams.watch({ uid })) seen.push(state);
  })();
  const client = await dial(entry);
  const closed = once(client.resume(), 'end');
  await eventually(() => assert.equal(seen, ['waiting']));
  await server.server.stop({ release: true });
  await Promise.all([...ends, watching, closed]);
  assert.is(seen.at(-1), 'released');
  assert.equal(await server.leftovers(), NOTHING);
  assert.not((await stat(join(server.state, 'lock')).catch(() => undefined))?.isFile());
  await dial(toAddress(server.listening.address)).then(
    () => assert.unreachable('the port is still open'),
    (error: NodeJS.ErrnoException) => assert.is(error.code, 'ECONNREFUSED'),
  );
});

s('stop does not wait for a client that keeps an idle HTTP/1.1 connection', async () => {
  await using server = await TestServer.start();
  const { host, port } = toAddress(server.listening.address);
  const socket = connectTls({ host, port, ca: await readFile(server.peerOptions.certificate) });
  await once(socket, 'secureConnect');
  const closed = once(socket, 'close');
  socket.write(
    'POST /scistream.v1.Streams/DescribeServer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
  );
  await once(socket, 'data');
  socket.on('data', () => undefined);
  // stop() gives open connections 2 s to end; less than that means that it did not wait.
  const begun = performance.now();
  await server.server.stop();
  await closed;
  assert.ok(performance.now() - begun < 1_900, `${performance.now() - begun} ms`);
});

s.run();
