/** A stream controller with a real gateway, store and policy that tests can interrupt. No network. */
import 'reflect-metadata';
import { container } from 'tsyringe';
import * as assert from 'uvu/assert';
import { SciStreamError, silentLogger, type ErrorCode, type Identity } from '@scistream/core';
import { loadConfig } from '@scistream/core/config';
import {
  GatewayLink,
  GatewayPool,
  LevelStreamStore,
  LocalGateway,
  OwnerPolicy,
  registerServer,
  StreamController,
  TOKENS,
  type Action,
  type FoundPlugin,
  type Granted,
  type StreamEvent,
  type StreamRecord,
} from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';

export const ALICE: Identity = { subject: 'alice', issuer: 'test', admin: false };
/** The signal of a client that stays. */
export const present = (): AbortSignal => new AbortController().signal;

/** Awaits the rejection of a promise. @returns the error, whose code is `code` */
export async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> {
  const error: unknown = await promise.then(
    () => assert.unreachable(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code, error.message);
  return error;
}

/** A real gateway with hooks around its calls. */
class InterruptibleGateway extends LocalGateway {
  afterStart: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  beforeRelease: () => Promise<void> = () => Promise.resolve();
  beforeTargets: () => Promise<void> = () => Promise.resolve();

  override async updateTargets(...args: Parameters<LocalGateway['updateTargets']>): Promise<void> {
    await this.beforeTargets();
    await super.updateTargets(...args);
  }

  override async release(uid: string): ReturnType<LocalGateway['release']> {
    await this.beforeRelease();
    return await super.release(uid);
  }

  override async start(uid: string, signal: AbortSignal): Promise<void> {
    await super.start(uid, signal);
    await this.afterStart(signal);
  }
}

/** A real store with hooks before its writes. */
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

/** The policy without rules, with a hook before it answers. */
class InterruptiblePolicy extends OwnerPolicy {
  afterCheck: (action: Action) => Promise<void> = () => Promise.resolve();

  override async check(identity: Identity, action: Action): Promise<Granted> {
    const granted = await super.check(identity, action);
    await this.afterCheck(action);
    return granted;
  }
}

export interface Fixture extends AsyncDisposable {
  readonly pool: GatewayPool;
  readonly controller: StreamController;
  readonly gateway: InterruptibleGateway;
  readonly store: InterruptibleStore;
  readonly policy: InterruptiblePolicy;
}

/** A controller on a gateway with eight ports at an address of its own process. @param plugins Besides the built-in parts. */
export async function fixture(plugins: readonly FoundPlugin[] = []): Promise<Fixture> {
  const directory = await temporaryDirectory();
  const host = `127.78.${(process.pid >> 8) & 255}.${process.pid & 255}`;
  const { config } = await loadConfig('s2cs', {
    env: {},
    overrides: { state: directory.path, encryption: 'optional' },
  });
  const ports = { first: 22_000, last: 22_007 };
  const settings = { name: 'gateway', wan: host, lan: host, ports, proxy: 'relay', runtime: 'process' };
  const own = container.createChildContainer();
  registerServer(own, { config, logger: silentLogger, plugins: [...plugins] });
  const gateway = new InterruptibleGateway(settings, own.resolve(TOKENS.Providers), silentLogger, directory.path);
  const link = new GatewayLink(settings, gateway, silentLogger);
  const pool = new GatewayPool([link], directory.path);
  own.register(GatewayPool, { useValue: pool });
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
  return { pool, controller, gateway, store, policy, [Symbol.asyncDispose]: dispose };
}
