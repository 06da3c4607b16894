/** The relay in a runtime with images, which cannot connect to the control socket of an instance. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger, type Address, type ContainerRef, type ContainerSpec } from '@scistream/core';
import { ProcessRuntime, RangePortAllocator, RelayContainer, relayOptions } from '@scistream/core/internal';
import { freeRange, temporaryDirectory, testContext, testCredentials, testSpec } from '@scistream/core/testing';
import { readAll, until } from '../support/relay.js';

/** Runs local processes that see only their own files, like containers of a remote engine. */
class FarRuntime extends ProcessRuntime {
  override readonly supports = { inheritSockets: false, dial: false, images: true, hostNetwork: true };
  specs: ContainerSpec[] = [];

  override start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    this.specs.push(spec);
    const args = ['-i', `PATH=${join(process.execPath, '..')}`, spec.executable, ...spec.args];
    return super.start(ref, { ...spec, executable: 'env', args });
  }

  override dial(): Promise<never> {
    return Promise.reject(new Error('unreachable'));
  }
}

const s = suite('relay from an image');

async function target(name: string): Promise<{ address: Address; seen: () => number; close: () => void }> {
  let seen = 0;
  const server = createServer((socket: Socket) => {
    seen += 1;
    socket.on('error', () => undefined).end(name);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { address: { host: '127.0.0.1', port }, seen: () => seen, close: () => void server.close() };
}

const ask = (address: Address): Promise<string> => readAll(connect(address)).then(String);

s('contains its program, reloads targets on a signal, and restarts without a connection to the target', async () => {
  await using directory = await temporaryDirectory();
  const runtime = new FarRuntime({ directory: directory.path, log: silentLogger });
  const relay = new RelayContainer(testContext({ runtime, dataDir: directory.path }), relayOptions.parse({}));
  assert.equal([relay.supports.statistics, relay.supports.liveRetarget], [false, true]);
  const uid = randomUUID();
  const allocator = new RangePortAllocator(await freeRange(4));
  const listeners = await allocator.allocate({ uid, host: '127.0.0.1', transport: 'tcp', count: 1 });
  const [a, b] = [await target('a'), await target('b')];
  const address = listeners[0]?.address ?? a.address;
  try {
    await relay.start({ uid, spec: testSpec, listeners });
    const early = ask(address);
    await relay.updateTargets(uid, [a.address]);
    assert.is(await early, 'a');
    for (const { address: now, name } of [
      { ...b, name: 'b' },
      { ...a, name: 'a' },
      { ...a, name: 'a' },
    ]) {
      await relay.updateTargets(uid, [now]);
      assert.is(await ask(address), name);
    }
    assert.equal(await relay.status(uid), { state: 'running', restarts: 0, listeners: [] });
    const [before] = await runtime.list({});
    process.kill(before?.pid ?? 0, 'SIGKILL');
    await until('restarted', async () => (await relay.status(uid)).restarts === 1);
    assert.is(a.seen(), 3);
    assert.is(await ask(address), 'a');
    const [spec] = runtime.specs;
    assert.equal(
      [spec?.executable, spec?.args, spec?.image.startsWith('node:20')],
      ['node', ['worker.js', 'relay.json'], true],
    );
    const own = join(directory.path, before?.name ?? '');
    assert.ok(readdirSync(own).includes('secure.js'));
    assert.not(existsSync(join(own, 'control.sock')));
  } finally {
    await relay.release(uid);
    await allocator.release(uid);
    a.close();
    b.close();
  }
});

s('reports a reload that fails', async () => {
  await using directory = await temporaryDirectory();
  const runtime = new FarRuntime({ directory: directory.path, log: silentLogger });
  const relay = new RelayContainer(testContext({ runtime, dataDir: directory.path }), relayOptions.parse({}));
  const uid = randomUUID();
  const allocator = new RangePortAllocator(await freeRange(4));
  const listeners = await allocator.allocate({ uid, host: '127.0.0.1', transport: 'tcp', count: 1 });
  try {
    const { inbound: tls } = await testCredentials();
    await relay.start({ uid, spec: { ...testSpec, encryption: 'tls' }, listeners, tls });
    const [{ name = '', pid = 0 } = {}] = await runtime.list({});
    process.kill(pid, 'SIGSTOP');
    const error = await relay.updateTargets(uid, [{ host: '127.0.0.1', port: 9 }]).then(
      () => undefined,
      (reason: unknown) => reason as { code: string },
    );
    process.kill(pid, 'SIGCONT');
    assert.is(error?.code, 'SCI_PROXY_COMMAND_FAILED');
    await runtime.putFiles({ name }, { 'relay.json': '{"transport":"tcp","listeners":[]}' });
    await runtime.signal({ name }, 'SIGHUP');
    await until('complaint', async () => (await runtime.logs({ name }, 5)).includes('expected at least one listener'));
    await relay.updateTargets(uid, [{ host: '127.0.0.1', port: 9 }]);
  } finally {
    await relay.release(uid);
    await allocator.release(uid);
  }
});

s.run();
