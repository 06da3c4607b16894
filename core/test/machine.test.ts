/** The state machine of a stream behind `StreamController`, with a real gateway and no network. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { container } from 'tsyringe';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError, silentLogger, type ErrorCode, type Identity } from '@scistream/core';
import { loadConfig } from '@scistream/core/config';
import {
  LocalGateway,
  GatewayLink,
  GatewayPool,
  LevelStreamStore,
  OwnerPolicy,
  registerServer,
  TOKENS,
  StreamController,
  type Action,
  type Granted,
  type StreamEvent,
  type StreamRecord,
  type StreamSpec,
} from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, temporaryDirectory, testSpec } from '@scistream/core/testing';

const machine = suite('stream machine');

const ALICE: Identity = { subject: 'alice', issuer: 'test', admin: false };
/** The signal of a client that stays. */
const present = (): AbortSignal => new AbortController().signal;

async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> {
  const error: unknown = await promise.then(
    () => assert.unreachable(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code, error.message);
  return error;
}

const failure = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', String);

/** A real gateway, with a way in between "the proxy runs" and "the control server knows". */
class InterruptibleGateway extends LocalGateway {
  afterStart: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  beforeRelease: () => Promise<void> = () => Promise.resolve();

  override async release(uid: string): ReturnType<LocalGateway['release']> {
    await this.beforeRelease();
    return await super.release(uid);
  }

  override async start(uid: string, signal: AbortSignal): Promise<void> {
    await super.start(uid, signal);
    await this.afterStart(signal);
  }
}

/** A real store, with a way in before something is written. */
class InterruptibleStore extends LevelStreamStore {
  beforeCreate: () => Promise<void> = () => Promise.resolve();
  beforeUpdate: (change: Partial<StreamRecord>) => Promise<void> = () => Promise.resolve();

  override async update(...args: Parameters<LevelStreamStore['update']>): Promise<StreamRecord> {
    await this.beforeUpdate(args[2]);
    return await super.update(...args);
  }

  override async create(record: StreamRecord, event?: StreamEvent): Promise<void> {
    await this.beforeCreate();
    await super.create(record, event);
  }
}

/** The policy where there are no rules, with a way in between what is asked and the answer. */
class InterruptiblePolicy extends OwnerPolicy {
  afterCheck: (action: Action) => Promise<void> = () => Promise.resolve();

  override async check(identity: Identity, action: Action): Promise<Granted> {
    const granted = await super.check(identity, action);
    await this.afterCheck(action);
    return granted;
  }
}

interface Fixture extends AsyncDisposable {
  readonly controller: StreamController;
  readonly gateway: InterruptibleGateway;
  readonly store: InterruptibleStore;
  readonly policy: InterruptiblePolicy;
}

/** A controller on a gateway with eight ports at an address of this file alone. */
async function fixture(): Promise<Fixture> {
  const directory = await temporaryDirectory();
  const host = `127.78.${(process.pid >> 8) & 255}.${process.pid & 255}`;
  const { config } = await loadConfig('s2cs', {
    env: {},
    overrides: { state: directory.path, encryption: 'optional' },
  });
  const ports = { first: 22_000, last: 22_007 };
  const settings = { name: 'gateway', wan: host, lan: host, ports, proxy: 'relay', runtime: 'process' };
  const own = container.createChildContainer();
  registerServer(own, { config, logger: silentLogger, plugins: [] });
  const gateway = new InterruptibleGateway(settings, own.resolve(TOKENS.Providers), silentLogger, directory.path);
  const link = new GatewayLink(settings, gateway, silentLogger);
  own.register(GatewayPool, { useValue: new GatewayPool([link], directory.path) });
  const store = new InterruptibleStore(directory.path);
  own.register(TOKENS.StreamStore, { useValue: store });
  const policy = new InterruptiblePolicy('optional');
  own.register(TOKENS.Policy, { useValue: policy });
  const controller = own.resolve(StreamController);
  await controller.open();
  const dispose = async (): Promise<void> => {
    await controller.close(true);
    await directory.remove();
  };
  return { controller, gateway, store, policy, [Symbol.asyncDispose]: dispose };
}

const SPEC: StreamSpec = { ...testSpec, lifetimeMs: 0 };

machine('goes through its states, one stored version for each', async () => {
  await using made = await fixture();
  const { controller } = made;
  const uid = randomUUID();
  const seen: string[] = [];
  const look = async (): Promise<void> => {
    for (;;) {
      const next = controller.changed(uid, present());
      const { record } = await controller.get(uid, ALICE);
      if (seen.at(-1) !== `${record.version} ${record.state}`) seen.push(`${record.version} ${record.state}`);
      if (record.state === 'released') return;
      await next;
    }
  };
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await eventually(async () => assert.is((await controller.get(uid, ALICE)).record.state, 'waiting'));
  const looking = look();
  await controller.hello(uid, ['10.0.0.1:5001'], ALICE);
  assert.equal((await req).announced, [{ host: '10.0.0.1', port: 5001 }]);
  const { version, state, targets } = await controller.update(uid, ['127.0.0.1:9'], ALICE);
  assert.equal([version, state, targets], [5, 'active', [{ host: '127.0.0.1', port: 9 }]]);
  await controller.release(uid, ALICE);
  await looking;
  assert.equal([seen[0], seen.at(-1)], ['2 waiting', '7 released']);
  const versions = seen.map((each) => Number(each.split(' ')[0]));
  assert.equal(
    versions,
    [...versions].sort((a, b) => a - b),
    'in order',
  );
});

machine('counts what lives and what waits', async () => {
  await using made = await fixture();
  const { controller } = made;
  const [a, b] = [randomUUID(), randomUUID()];
  const requests = [a, b].map((uid) => controller.request(uid, SPEC, undefined, ALICE, present()).catch(String));
  await eventually(() => assert.equal(controller.counts(), { streams: 2, waiting: 2 }));
  await controller.hello(a, [], ALICE);
  assert.equal(controller.counts(), { streams: 2, waiting: 1 });
  await controller.release(b, ALICE);
  assert.equal(controller.counts(), { streams: 1, waiting: 0 });
  await Promise.all(requests);
});

machine('two requests with one uid at the same moment: one is refused', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  const results = [1, 2].map(() => made.controller.request(uid, SPEC, undefined, ALICE, present()));
  const [, second] = results;
  await refusal(second ?? Promise.resolve(), 'SCI_STREAM_EXISTS');
  const greeted = made.controller.hello(uid, [], ALICE);
  assert.is((await results[0])?.uid, uid);
  await greeted;
});

machine('a stream that is not written yet is known to its owner, and to nobody else', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  const uid = randomUUID();
  let write: () => void = () => undefined;
  store.beforeCreate = () => new Promise((resolve) => (write = resolve));
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STREAM_RELEASED');
  await eventually(() => assert.is(controller.counts().waiting, 1));
  assert.is((await controller.get(uid, ALICE)).record.state, 'reserving');
  await refusal(controller.release(uid, { ...ALICE, subject: 'bob' }), 'SCI_STREAM_NOT_FOUND');
  const release = controller.release(uid, ALICE);
  write();
  assert.is((await release).state, 'released');
  await req;
  assert.equal([controller.counts().streams, (await made.gateway.describe()).portsInUse], [0, 0]);
});

machine('a stream that cannot be written is refused, and leaves nothing behind', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  const uid = randomUUID();
  store.beforeCreate = () => Promise.reject(new SciStreamError('SCI_STATE_WRITE', 'The disk is full.'));
  await refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STATE_WRITE');
  assert.equal(controller.counts(), { streams: 0, waiting: 0 });
  assert.is((await made.gateway.describe()).portsInUse, 0);
  store.beforeCreate = () => Promise.resolve();
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await controller.hello(uid, [], ALICE);
  assert.is((await req).state, 'provisioned');
});

machine('an update that cannot be written down is taken back at the gateway, too', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  await using one = await tcpServer(named('a'));
  await using two = await tcpServer(named('b'));
  const uid = randomUUID();
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await controller.hello(uid, [], ALICE);
  const [entry] = (await req).listeners;
  if (!entry) return assert.unreachable('no listener');
  await controller.update(uid, [formatAddress(one.address)], ALICE);
  store.beforeUpdate = async ({ state }) => {
    if (state !== 'active') return;
    store.beforeUpdate = () => Promise.resolve();
    throw new SciStreamError('SCI_STATE_WRITE', 'The disk is full.');
  };
  await refusal(controller.update(uid, [formatAddress(two.address)], ALICE), 'SCI_STATE_WRITE');
  await eventually(async () => assert.is((await controller.get(uid, ALICE)).record.state, 'active'), 30_000);
  assert.equal((await controller.get(uid, ALICE)).record.targets, [one.address]);
  assert.is(await exchange(entry, 'x'), 'ax');
});

machine('a release that failed is made again, and the first reason stays the reason', async () => {
  await using made = await fixture();
  const { controller, gateway } = made;
  const uid = randomUUID();
  gateway.beforeRelease = () => Promise.reject(new SciStreamError('SCI_RUNTIME_UNREACHABLE', 'It is away.'));
  await refusal(controller.request(uid, SPEC, undefined, ALICE, AbortSignal.abort()), 'SCI_CLIENT_GONE');
  assert.is((await controller.get(uid, ALICE)).record.state, 'releasing');
  await refusal(controller.release(uid, ALICE), 'SCI_RUNTIME_UNREACHABLE');
  gateway.beforeRelease = () => Promise.resolve();
  await eventually(() => assert.is(controller.counts().streams, 0), 60_000);
  const { record } = await controller.get(uid, ALICE);
  assert.equal([record.state, record.error?.code], ['failed', 'SCI_CLIENT_GONE']);
  assert.is((await gateway.describe()).portsInUse, 0);
});

machine('what was allowed for a stream is not done to the next one of that uid', async () => {
  await using made = await fixture();
  const { controller, policy } = made;
  const uid = randomUUID();
  const up = async (who: Identity): Promise<void> => {
    const req = controller.request(uid, SPEC, undefined, who, present());
    await controller.hello(uid, [], who);
    await req;
  };
  const mallory = { ...ALICE, subject: 'mallory' };
  for (const [kind, act] of [
    ['update', () => controller.update(uid, ['127.0.0.1:9'], mallory)],
    ['probe', () => controller.probe(uid, { host: '127.0.0.1', port: 9 }, '', mallory)],
    ['release', () => controller.release(uid, mallory)],
  ] as const) {
    await up(mallory);
    policy.afterCheck = async (action) => {
      if (action.kind !== kind) return;
      policy.afterCheck = () => Promise.resolve();
      await controller.release(uid, mallory);
      await up(ALICE);
    };
    await act().catch((error: unknown) => assert.ok(SciStreamError.is(error), String(error)));
    const { record } = await controller.get(uid, ALICE);
    assert.equal([kind, record.owner, record.state, record.targets], [kind, 'test:alice', 'provisioned', []]);
    await controller.release(uid, ALICE);
  }
});

machine('a client that is gone already does not keep its stream', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  await refusal(made.controller.request(uid, SPEC, undefined, ALICE, AbortSignal.abort()), 'SCI_CLIENT_GONE');
  assert.equal(made.controller.counts(), { streams: 0, waiting: 0 });
  const { record } = await made.controller.get(uid, ALICE);
  assert.equal([record.state, record.error?.code], ['failed', 'SCI_CLIENT_GONE']);
});

machine('RELEASE between the start of the proxy and the answer to HELLO refuses both, and nothing stays', async () => {
  await using made = await fixture();
  const { controller, gateway } = made;
  const uid = randomUUID();
  let release: Promise<unknown> = Promise.resolve();
  gateway.afterStart = async (signal) => {
    release = controller.release(uid, ALICE);
    // It waits behind HELLO, and has aborted it as soon as its own checks are done.
    await eventually(() => assert.ok(signal.aborted));
  };
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STREAM_RELEASED');
  await refusal(controller.hello(uid, [], ALICE), 'SCI_STREAM_RELEASED');
  await Promise.all([req, release]);
  assert.equal([controller.counts().streams, (await gateway.describe()).portsInUse], [0, 0]);
});

machine('close refuses what is new and ends what waits, more than once', async () => {
  await using made = await fixture();
  const { controller } = made;
  const uid = randomUUID();
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_SHUTTING_DOWN');
  await eventually(async () => assert.is((await controller.get(uid, ALICE)).record.state, 'waiting'));
  await controller.close(true);
  await controller.close(true);
  await req;
  await refusal(controller.request(randomUUID(), SPEC, undefined, ALICE, present()), 'SCI_SHUTTING_DOWN');
  assert.is((await controller.get(uid, ALICE)).record.error?.code, 'SCI_SHUTTING_DOWN');
});

machine('who waits for a change can stop waiting', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  const req = made.controller.request(uid, SPEC, undefined, ALICE, present()).catch(String);
  await eventually(async () => assert.is((await made.controller.get(uid, ALICE)).record.state, 'waiting'));
  const stop = new AbortController();
  const change = made.controller.changed(uid, stop.signal);
  stop.abort(new Error('enough'));
  assert.is(await failure(change), 'Error: enough');
  assert.is(await failure(made.controller.changed(uid, AbortSignal.abort(new Error('before')))), 'Error: before');
  await made.controller.changed(randomUUID(), present());
  await made.controller.release(uid, ALICE);
  await req;
});

machine.run();
