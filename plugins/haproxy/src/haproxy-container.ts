import { availableParallelism } from 'node:os';
import {
  createRenderer,
  ProxyContainer,
  quote,
  type ContainerRef,
  type ListenerStatistics,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type Renderer,
  type S2DSCapabilities,
  type ProxyView,
} from '@scistream/core';
import { templateDirectory } from '@scistream/templates';
import { countersOf } from './counters.js';
import { isLoaded, reload } from './master.js';
import type { HaproxyOptions } from './options.js';
import { CHECK_CONFIG, CONFIG, NOWHERE, renderFiles, type Mode } from './render.js';
import { ask, commandFailed, isRetargeted } from './runtime-socket.js';

/** Lines at the end of a young instance's log among which its master says that the worker has been loaded. */
const FIRST_LINES = 50;

/** Per stream, where the configuration does not say. */
const MOST_PROCESSES = 4;

/**
 * TCP over HAProxy, one instance or a few per stream, encrypted where asked. Neither a listener nor a connection in flight
 * is ever touched by new targets. Where the runtime reaches unix sockets, an instance is one process that is told its
 * targets through the runtime socket; the configuration file is rewritten too, so that it always says what runs. Elsewhere
 * it is a master that starts a new worker for them, while old ones serve what they have accepted; there are no statistics
 * then.
 *
 * With the runtime socket, clients that come before their target are held about 30 s (dataplane.md §0.6). One that leaves
 * meanwhile without having sent anything never reaches the target; one that has sent something may, because it looks
 * like one that has said all it wants to say and waits for the answer (`option abortonclose` would cut those too). A
 * worker would hold them for an address it is never told, so there they are closed at once.
 */
export class HaproxyContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  readonly #mode: Mode;
  readonly #options: HaproxyOptions;
  readonly #renderer: Renderer;
  /** What was counted last. Another ref is another program, or the same one after a restart of this process. */
  readonly #counters = new WeakMap<ContainerRef, readonly ListenerStatistics[]>();

  constructor(context: PluginContext, options: HaproxyOptions) {
    super(context, 'haproxy');
    const { dial, hostNetwork } = context.runtime.supports;
    this.supports = {
      tcp: true,
      udp: false,
      tls: true,
      sources: hostNetwork,
      rateLimit: false,
      liveRetarget: true,
      statistics: dial,
    };
    this.#mode = dial ? 'runtime-socket' : 'master-worker';
    this.#options = options;
    this.#renderer = createRenderer([...(options.templates ? [options.templates] : []), templateDirectory('haproxy')]);
  }

  /**
   * Several, because each has one thread: HAProxy's select writes down what each thread polls in one place for all, so that
   * with more of them a wake-up can get lost, and with it the rest of a connection (ev_select.c of 2.6.12; one connection of
   * some 10000 under load).
   */
  protected override instances(): number {
    const usual = this.context.runtime.supports.images ? 1 : Math.min(availableParallelism(), MOST_PROCESSES);
    return this.#options.processes ?? usual;
  }

  /**
   * The first process of a container never gets a signal it has no handler for (pid_namespaces(7)). Without a master
   * HAProxy has none for SIGTERM; for SIGUSR1 it has, and the template makes that end it at once. A master has both.
   */
  protected override describe(view: ProxyView): ProxyDescription {
    const { image, executable } = this.#options;
    const master = this.#mode === 'master-worker';
    return {
      image,
      executable,
      args: [...(master ? ['-W'] : []), '-db', '-f', CONFIG],
      config: CONFIG,
      files: renderFiles(this.#renderer, view, this.#options, this.#mode),
      stopSignal: this.context.runtime.supports.images && !master ? 'SIGUSR1' : 'SIGTERM',
    };
  }

  /**
   * `-c` insists that the descriptor of `bind fd@N` is a socket, which it is only in the instance itself, so a file read
   * before it tells the configuration to name the address instead. Without `-q`, which would also hide what is wrong.
   */
  protected override check(config: string): readonly string[] {
    return [this.#options.executable, '-c', '-f', CHECK_CONFIG, '-f', config];
  }

  /** HAProxy opens the runtime socket after all listeners, so an answer says that every one of them accepts. */
  protected override async ready({ ref }: ProxyInstance): Promise<boolean> {
    const { runtime } = this.context;
    if (this.#mode === 'master-worker') return isLoaded(await runtime.logs(ref, FIRST_LINES));
    return /^Pid: \d+$/m.test(await ask(runtime, ref, ['show', 'info']));
  }

  protected override async retarget({ ref, view }: ProxyInstance): Promise<boolean> {
    if (this.#mode === 'master-worker') return false;
    for (const i of view.listeners.keys()) {
      const { host, port } = view.targets[i] ?? NOWHERE;
      const command = ['set', 'server', `b${i}/s${i}`, 'addr', host, 'port', String(port)];
      const reply = await ask(this.context.runtime, ref, command);
      if (!isRetargeted(reply)) throw commandFailed(command, `it answered ${quote(reply)}`);
    }
    return true;
  }

  protected override reload({ ref, view }: ProxyInstance): Promise<void> {
    return reload(this.context.runtime, ref, view.listeners.length);
  }

  protected override async statistics({ ref, view }: ProxyInstance): Promise<readonly ListenerStatistics[]> {
    if (!this.supports.statistics) return [];
    const stat = await ask(this.context.runtime, ref, ['show', 'stat']);
    const sessions = await ask(this.context.runtime, ref, ['show', 'sess', 'all']);
    const counters = countersOf(stat, sessions, view.listeners.length, this.#counters.get(ref));
    this.#counters.set(ref, counters);
    return counters;
  }
}
