/** A move whose every step can fail: behind `StreamController`, with two gateways in this process and no network. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { container } from 'tsyringe';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatAddress,
  S2DSException,
  SciStreamError,
  silentLogger,
  type Address,
  type Identity,
} from '@scistream/core';
import { loadConfig } from '@scistream/core/config';
import {
  LocalGateway,
  GatewayLink,
  GatewayPool,
  MemoryStreamStore,
  registerServer,
  TOKENS,
  StreamController,
  type StreamRecord,
  type StreamSpec,
} from '@scistream/core/internal';
import {
  eventually,
  exchange,
  expectCode,
  freeRange,
  named,
  tcpServer,
  temporaryDirectory,
  testSpec,
} from '@scistream/core/testing';

const s = suite('stream move');

const OPERATOR: Identity = { subject: 'operator', issuer: 'test', admin: true };
/** The control server looks for streams that do not belong to a gateway every few seconds. */
const PATIENCE_MS = 30_000;
const broken = (): SciStreamError => new SciStreamError('SCI_STATE_WRITE', 'Broken on purpose.');

type Step = 'handover' | 'reserve' | 'start' | 'updateTargets' | 'store' | 'none';

/** Which step fails, and on which gateway. */
class Sabotage {
  step: Step = 'none';
  readonly gateway = 'b';
  /** The gateway that a release does not reach, once. */
  unreachable = '';
  /** Emits the name of a gateway whose proxies have failed permanently. */
  readonly deaths = new EventEmitter();

  at(step: Step): void {
    if (this.step === step) throw broken();
  }
}

class Gateway extends LocalGateway {
  sabotage = new Sabotage();
  #opening: Promise<void> | undefined;

  /** As of a gateway in another process, which the control server checks again and again. */
  onLost(): void {
    // This one is never lost.
  }

  override async open(): Promise<void> {
    await (this.#opening ??= super.open());
  }

  #at(step: Step): void {
    if (this.name === this.sabotage.gateway || step === 'handover') this.sabotage.at(step);
  }

  override async handover(...args: Parameters<LocalGateway['handover']>) {
    this.#at('handover');
    return await super.handover(...args);
  }

  override async ended(uid: string): Promise<S2DSException | undefined> {
    const death = once(this.sabotage.deaths, this.name).then(() => new S2DSException('SCI_PROXY_DIED', 'On purpose.'));
    return await Promise.race([super.ended(uid), death]);
  }

  override async reserve(...args: Parameters<LocalGateway['reserve']>) {
    const made = await super.reserve(...args);
    this.#at('reserve');
    return made;
  }

  override async start(...args: Parameters<LocalGateway['start']>): Promise<void> {
    await super.start(...args);
    this.#at('start');
  }

  override async release(...args: Parameters<LocalGateway['release']>) {
    if (this.sabotage.unreachable === this.name) {
      this.sabotage.unreachable = '';
      throw broken();
    }
    return await super.release(...args);
  }

  override async updateTargets(...args: Parameters<LocalGateway['updateTargets']>): Promise<void> {
    await super.updateTargets(...args);
    this.#at('updateTargets');
  }
}

class Store extends MemoryStreamStore {
  constructor(private readonly sabotage: Sabotage) {
    super();
  }

  protected override async persist(): Promise<void> {
    this.sabotage.at('store');
  }
}

interface Fixture extends AsyncDisposable {
  readonly controller: StreamController;
  readonly sabotage: Sabotage;
  /** Ports in use on a and b. */
  ports(): Promise<readonly number[]>;
}

async function fixture(): Promise<Fixture> {
  const directory = await temporaryDirectory();
  const { config } = await loadConfig('s2cs', {
    env: {},
    overrides: { state: directory.path, encryption: 'optional' },
  });
  const sabotage = new Sabotage();
  const own = container.createChildContainer();
  registerServer(own, { config, logger: silentLogger, plugins: [] });
  const { first } = await freeRange(8);
  const gateways = ['a', 'b'].map((name, i) => {
    const ports = { first: first + 4 * i, last: first + 4 * i + 3 };
    const settings = { name, wan: '127.0.0.2', lan: '127.0.0.3', ports, proxy: 'relay', runtime: 'process' };
    const state = join(directory.path, name);
    const gateway = new Gateway(settings, own.resolve(TOKENS.Providers), silentLogger, state);
    gateway.sabotage = sabotage;
    return { settings, gateway, state };
  });
  for (const { state } of gateways) await mkdir(state, { mode: 0o700 });
  const links = gateways.map(({ settings, gateway }) => new GatewayLink(settings, gateway, silentLogger));
  own.register(GatewayPool, { useValue: new GatewayPool(links, directory.path) });
  own.register(TOKENS.StreamStore, { useValue: new Store(sabotage) });
  const controller = own.resolve(StreamController);
  await controller.open();
  const dispose = async (): Promise<void> => {
    sabotage.step = 'none';
    await controller.close(true);
    await directory.remove();
  };
  const ports = () => Promise.all(gateways.map(async ({ gateway }) => (await gateway.describe()).portsInUse));
  return { controller, sabotage, ports, [Symbol.asyncDispose]: dispose };
}

/** A stream on a. */
async function setUp(controller: StreamController, target: string, wishes: Partial<StreamSpec> = {}): Promise<string> {
  const uid = randomUUID();
  const spec = { ...testSpec, lifetimeMs: 0, gateway: 'a', movable: true, ...wishes };
  await Promise.all([
    controller.request(uid, spec, undefined, OPERATOR, new AbortController().signal),
    controller.hello(uid, [], OPERATOR),
  ]);
  await controller.update(uid, [target], OPERATOR);
  return uid;
}

const entryOf = ({ listeners }: StreamRecord): Address => {
  const [entry] = listeners;
  if (!entry) throw new Error('no listener');
  return entry;
};

/** @returns the result for the stream */
async function move(controller: StreamController, graceMs = 0) {
  const moves = [];
  for await (const { record, moved, error } of controller.move('a', graceMs, OPERATOR)) {
    moves.push([record.gateway, moved, error?.code]);
  }
  return moves;
}

s(
  'whatever fails before the record says so, the stream stays, works, and has left nothing on the other gateway',
  async () => {
    await using made = await fixture();
    const { controller, sabotage } = made;
    await using target = await tcpServer(named('t'));
    const uid = await setUp(controller, `127.0.0.1:${target.address.port}`);
    for (const step of ['handover', 'reserve', 'start', 'updateTargets', 'store'] as const) {
      sabotage.step = step;
      assert.equal(await move(controller), [['a', false, 'SCI_STATE_WRITE']], step);
      sabotage.step = 'none';
      assert.equal(await made.ports(), [1, 0], step);
      const { record } = await controller.views.get(uid, OPERATOR);
      assert.equal([record.gateway, record.state, record.leaving], ['a', 'active', undefined], step);
      assert.is(await exchange(entryOf(record), 'x'), 'tx', step);
    }
    assert.equal(await move(controller), [['b', true, undefined]]);
    await eventually(async () => assert.equal(await made.ports(), [0, 1]));
    const { record } = await controller.views.get(uid, OPERATOR);
    assert.is(await exchange(entryOf(record), 'x'), 'tx');
  },
);

s(
  'what the other gateway could not remove after a failed move is removed when the control server finds it',
  async () => {
    await using made = await fixture();
    const { controller, sabotage } = made;
    await setUp(controller, '127.0.0.1:9');
    sabotage.step = 'store';
    sabotage.unreachable = 'b';
    assert.equal(await move(controller), [['a', false, 'SCI_STATE_WRITE']]);
    assert.is(sabotage.unreachable, '', 'the release was tried');
    await eventually(async () => assert.equal(await made.ports(), [1, 0]), PATIENCE_MS);
  },
);

s('a release during the grace, and one during the move, leave nothing on either gateway', async () => {
  await using made = await fixture();
  const { controller } = made;
  const first = await setUp(controller, '127.0.0.1:9');
  assert.equal(await move(controller, 60_000), [['b', true, undefined]]);
  assert.equal(await made.ports(), [1, 1]);
  await controller.release(first, OPERATOR);
  assert.equal(await made.ports(), [0, 0]);
  await controller.drain('a', false, OPERATOR);
  const second = await setUp(controller, '127.0.0.1:9');
  const moving = move(controller, 60_000);
  await eventually(async () => assert.equal(await made.ports(), [1, 1]));
  await controller.release(second, OPERATOR);
  await moving;
  assert.equal(await made.ports(), [0, 0]);
  assert.is((await controller.views.get(second, OPERATOR)).record.state, 'released');
});

s('a proxy failure on the previous gateway does not affect the stream; one on its present gateway does', async () => {
  await using made = await fixture();
  const { controller, sabotage } = made;
  const uid = await setUp(controller, '127.0.0.1:9');
  assert.equal(await move(controller, 60_000), [['b', true, undefined]]);
  sabotage.deaths.emit('a');
  assert.is((await controller.update(uid, ['127.0.0.1:9'], OPERATOR)).state, 'active');
  sabotage.deaths.emit('b');
  await eventually(async () => assert.is((await controller.views.get(uid, OPERATOR)).record.state, 'failed'));
  assert.equal(await made.ports(), [0, 1], 'a failed stream keeps its ports on its gateway');
  await controller.release(uid, OPERATOR);
  assert.equal(await made.ports(), [0, 0]);
});

s('targets that lead to a listener on the previous gateway close no loop while it accepts connections', async () => {
  await using made = await fixture();
  const { controller } = made;
  const moved = await setUp(controller, '127.0.0.1:9');
  const before = entryOf((await controller.views.get(moved, OPERATOR)).record);
  const other = await setUp(controller, formatAddress(before), { movable: false });
  assert.equal((await move(controller, 60_000)).sort(), [
    ['a', false, undefined],
    ['b', true, undefined],
  ]);
  const entry = formatAddress(entryOf((await controller.views.get(other, OPERATOR)).record));
  await expectCode('SCI_TARGETS_INVALID', controller.update(moved, [entry], OPERATOR));
  await expectCode('SCI_TARGETS_INVALID', controller.update(moved, [formatAddress(before)], OPERATOR));
});

s('a move is rejected if it gives the stream a listener to which its targets lead', async () => {
  await using made = await fixture();
  const { controller } = made;
  // The ports of b that become free are all targets of the other stream, so the moved stream gets one of them.
  await setUp(controller, '127.0.0.1:9', { gateway: 'b', movable: false });
  const earlier = await setUp(controller, '127.0.0.1:9', { gateway: 'b', movable: false, connections: 3 });
  const taken = (await controller.views.get(earlier, OPERATOR)).record.listeners.map(formatAddress);
  const between = await setUp(controller, '127.0.0.1:9', { movable: false, connections: 3 });
  await controller.update(between, taken, OPERATOR);
  await setUp(controller, formatAddress(entryOf((await controller.views.get(between, OPERATOR)).record)));
  await controller.release(earlier, OPERATOR);
  assert.equal(await made.ports(), [4, 1]);
  const moves = await move(controller, 60_000);
  assert.equal(moves.sort(), [
    ['a', false, undefined],
    ['a', false, 'SCI_TARGETS_INVALID'],
  ]);
  assert.equal(await made.ports(), [4, 1]);
});

s.run();
