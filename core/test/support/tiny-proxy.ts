/** A machine in memory with minimal proxies. */
import {
  formatAddress,
  ProxyContainer,
  type Address,
  type ContainerRef,
  type ContainerSpec,
  type ContainerState,
  type ProxyDescription,
  type ProxyInstance,
  type S2DSException,
  type S2DSRequest,
  type ProxyView,
} from '@scistream/core';
import type { ReservedListener } from '@scistream/core/internal';
import {
  eventually,
  FakeRuntime,
  testContext,
  testSpec,
  type FakeSelf,
  type TestContext,
} from '@scistream/core/testing';
import { tmpdir } from 'node:os';
import * as assert from 'uvu/assert';

export const A: Address = { host: '192.0.2.1', port: 1 };
export const B: Address = { host: '192.0.2.2', port: 2 };
/** A target that the checker of the proxy rejects. */
export const REFUSED: Address = { host: '192.0.2.66', port: 66 };
/** A target that the running proxy rejects. */
export const UNUSABLE: Address = { host: '192.0.2.99', port: 99 };

/** A minimal proxy, whose file is the list of its targets. */
export class Tiny extends ProxyContainer {
  readonly supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };

  protected override describe({ targets }: ProxyView): ProxyDescription {
    const text = targets.map(formatAddress).join() || 'nowhere';
    return { image: 'tiny:1', executable: 'tiny', args: [], config: 'tiny.cfg', files: { 'tiny.cfg': text } };
  }

  protected override check(config: string): readonly string[] {
    return ['tiny', config];
  }

  protected override async ready({ ref }: ProxyInstance): Promise<boolean> {
    return (await this.context.runtime.logs(ref, 1)).length > 0;
  }
}

/** A proxy that rereads its file. */
export class Reloading extends Tiny {
  protected override async reload({ ref }: ProxyInstance): Promise<void> {
    await this.context.runtime.signal(ref, 'SIGHUP');
  }
}

/** A proxy that receives its targets at run time, unless `retargets` is false. */
export class Retargetable extends Reloading {
  readonly targetsSeen: (readonly Address[])[] = [];
  retargets = true;

  protected override retarget({ view }: ProxyInstance): Promise<boolean> {
    if (!this.retargets) return Promise.resolve(false);
    if (view.targets[0]?.port === UNUSABLE.port) return Promise.reject(new Error('target rejected'));
    this.targetsSeen.push(view.targets);
    return Promise.resolve(true);
  }
}

/** Proxies that split their listeners between instances. */
export class TwoInstances extends Retargetable {
  protected override instances(): number {
    return 2;
  }
}

export class ThreeInstances extends Retargetable {
  protected override instances(): number {
    return 3;
  }
}

/** A runtime with injected errors in `exited` and `create`. */
export class FaultyRuntime extends FakeRuntime {
  faults: (((runtime: this) => Promise<ContainerState>) | undefined)[] = [];

  failure: S2DSException | undefined;

  override async create(spec: ContainerSpec): Promise<ContainerRef> {
    if (!this.failure) return await super.create(spec);
    this.calls.push('fail');
    throw this.failure;
  }

  override exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    return this.faults.shift()?.(this) ?? super.exited(ref, signal);
  }
}

type Kind<P extends Tiny> = new (...args: ConstructorParameters<typeof Tiny>) => P;

/** A machine with one proxy, a stream for it, and a record of the calls. */
export class Fixture<P extends Tiny> {
  readonly runtime: FaultyRuntime;
  readonly proxy: P;
  readonly request: S2DSRequest;
  readonly #contexts: TestContext[] = [];
  /** A text in files that the checker rejects. */
  refuses = REFUSED.host;
  /** Start of the program. */
  begin = (self: FakeSelf): void => self.say(`serves ${self.files()['tiny.cfg']}`);

  constructor(
    private readonly kind: Kind<P>,
    uid = 'aaaaaaaa-1',
  ) {
    this.runtime = new FaultyRuntime({
      programs: {
        tiny: (self) => {
          self.on('SIGHUP', () => self.say(`follows ${self.files()['tiny.cfg']}`));
          this.begin(self);
        },
      },
      commands: {
        tiny: ([, config = ''], files) =>
          files[config]?.includes(this.refuses) ? { exitCode: 1, stderr: 'no such target\n' } : {},
      },
    });
    this.proxy = this.on(this.runtime);
    const step = (name: string) => () => Promise.resolve(void this.runtime.calls.push(name));
    const listener: ReservedListener = {
      address: { host: '127.0.0.1', port: 5000 },
      bind: step('bind'),
      close: step('close'),
    };
    this.request = { uid, spec: testSpec, listeners: [listener] };
  }

  /** A proxy of this or another kind on the same machine. */
  on(runtime: FakeRuntime): P;
  on<Q extends Tiny>(runtime: FakeRuntime, kind: Kind<Q>): Q;
  on(runtime: FakeRuntime, kind: Kind<Tiny> = this.kind): Tiny {
    const context = testContext({ runtime, dataDir: tmpdir() });
    this.#contexts.push(context);
    return new kind(context, 'tiny');
  }

  /** Stops the process of the proxy: programs keep running without supervision. */
  async abandon(): Promise<void> {
    for (const context of this.#contexts.splice(0)) await context.close();
  }

  /** Starts the stream with a target. */
  async start(): Promise<void> {
    await this.proxy.start(this.request);
    await this.update(A);
    this.happened();
  }

  update(target: Address): Promise<void> {
    return this.proxy.updateTargets(this.request.uid, [target]);
  }

  /** Calls since the previous query, without the name of the instance. */
  happened(): string[] {
    return this.runtime.calls.splice(0).map((call) => call.replace(/ scistream-\S+/, ''));
  }

  async log(): Promise<string[]> {
    const [instance] = await this.runtime.list({});
    return instance ? (await this.runtime.logs(instance, 10)).split('\n') : [];
  }

  async kill(): Promise<void> {
    for (const instance of await this.runtime.list({})) this.runtime.kill(instance);
    await eventually(
      async () => assert.is.not((await this.proxy.status(this.request.uid)).state, 'restarting'),
      10_000,
    );
  }
}
