import { availableParallelism } from 'node:os';
import {
  createRenderer,
  ProxyContainer,
  type ConnectionLimit,
  type ContainerRef,
  type ListenerStatistics,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type Renderer,
  type S2DSCapabilities,
  type Target,
  type ProxyView,
} from '@scistream/core';
import { templateDirectory } from '@scistream/templates';
import { countersOf, type Reading } from './counters.js';
import { isLoaded, mayReload, reload } from './master.js';
import type { HaproxyOptions } from './options.js';
import { CHECK_CONFIG, CONFIG, renderFiles, type Mode } from './render.js';
import { parseServers, retargetBackend, type KnownServers } from './retarget.js';
import { ask } from './runtime-socket.js';

/** Number of log lines of a new instance in which the master reports that the worker is loaded. */
const FIRST_LINES = 50;

/** Number of log lines in which the reasons of the latest failures are. */
const LAST_LINES = 20;

const preferred = ({ host, port }: Target): Target => ({ host, port });

/** Default limit of processes per stream. */
const MOST_PROCESSES = 4;

/**
 * TCP over HAProxy, with one or several instances per stream and optional TLS. New targets affect neither listeners nor
 * open connections. If the runtime reaches unix sockets, an instance is one process that receives its targets through
 * the runtime socket. The configuration file is rewritten as well, so that it matches the running state. Otherwise an
 * instance is a master that starts a new worker for new targets, while old workers serve their connections. Statistics
 * are then not available.
 *
 * With the runtime socket, clients that connect before a target is set are held for about 30 s. A client that leaves
 * during that time without sending data never reaches the target. A client that has sent data may, because it looks
 * like one that half-closed its connection (`option abortonclose` would close those too). A worker cannot receive a
 * target later, so without the runtime socket such clients are closed immediately.
 */
export class HaproxyContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  readonly #mode: Mode;
  readonly #options: HaproxyOptions;
  readonly #renderer: Renderer;
  /**
   * The latest counters by ref. Another ref is another program, or the same program after a restart of this process.
   */
  readonly #counters = new WeakMap<ContainerRef, readonly Reading[]>();
  /** Servers of each instance, some of which were added. */
  readonly #servers = new WeakMap<ContainerRef, KnownServers>();
  /** Instances whose targets have changed since the latest counters. */
  readonly #retargeted = new WeakSet<ContainerRef>();

  constructor(context: PluginContext, options: HaproxyOptions) {
    super(context, 'haproxy');
    const { dial, hostNetwork } = context.runtime.supports;
    this.supports = {
      tcp: true,
      udp: false,
      tls: true,
      sources: hostNetwork,
      localAddress: hostNetwork && options.templates === undefined,
      ...(options.templates === undefined && { probe: 'close' }),
      rateLimit: false,
      liveRetarget: true,
      statistics: dial,
    };
    this.#mode = dial ? 'runtime-socket' : 'master-worker';
    this.#options = options;
    this.#renderer = createRenderer([options.templates, templateDirectory('haproxy')]);
  }

  /**
   * Several processes, because each has only one thread. The select poller of HAProxy shares one descriptor set between
   * threads, so wake-ups can get lost, and with them the rest of a connection (ev_select.c of 2.6.12; about one
   * connection in 10000 under load).
   */
  protected override instances(): number {
    const usual = this.context.runtime.supports.images ? 1 : Math.min(availableParallelism(), MOST_PROCESSES);
    return this.#options.processes ?? usual;
  }

  /**
   * The first process of a container receives only signals that it handles (pid_namespaces(7)). Without a master,
   * HAProxy handles SIGUSR1 but not SIGTERM; the template makes SIGUSR1 end it immediately. A master handles both.
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
   * `-c` requires the descriptor of `bind fd@N` to be a socket, which is true only in the instance. A file that is read
   * before the configuration therefore selects the address instead. No `-q`, which would hide the errors.
   */
  protected override check(config: string): readonly string[] {
    return [this.#options.executable, '-c', '-f', CHECK_CONFIG, '-f', config];
  }

  /** HAProxy opens the runtime socket after all listeners, so an answer proves that every listener accepts. */
  protected override async ready({ ref }: ProxyInstance): Promise<boolean> {
    const { runtime } = this.context;
    if (this.#mode === 'master-worker') return isLoaded(await runtime.logs(ref, FIRST_LINES));
    return /^Pid: \d+$/m.test(await ask(runtime, ref, ['show', 'info']));
  }

  /** @throws SCI_LIMIT_REACHED while a master has too many old workers */
  protected override async admit({ ref, view }: ProxyInstance): Promise<void> {
    if (this.#mode === 'master-worker') await mayReload(this.context.runtime, ref, view.listeners.length);
  }

  protected override async retarget({ ref, view }: ProxyInstance): Promise<boolean> {
    if (this.#mode === 'master-worker') return false;
    const command = (words: readonly string[]): Promise<string> => ask(this.context.runtime, ref, words);
    const servers = this.#servers.get(ref) ?? parseServers(await command(['show', 'servers', 'state']));
    this.#servers.set(ref, servers);
    // A custom template may balance in a way that ignores further servers, or that forbids to add them.
    const own = this.#options.templates === undefined ? view : { ...view, targets: view.targets.map(preferred) };
    for (const i of view.listeners.keys()) await retargetBackend(command, own, i, servers.get(`b${i}`) ?? new Set());
    this.#retargeted.add(ref);
    return true;
  }

  protected override reload({ ref, view }: ProxyInstance): Promise<void> {
    return reload(this.context.runtime, ref, view.listeners.length);
  }

  protected override async statistics({ ref, view }: ProxyInstance): Promise<readonly ListenerStatistics[]> {
    if (!this.supports.statistics) return [];
    const stat = await ask(this.context.runtime, ref, ['show', 'stat']);
    const sessions = await ask(this.context.runtime, ref, ['show', 'sess', 'all']);
    const retargeted = this.#retargeted.delete(ref);
    const counters = countersOf(stat, sessions, view.listeners.length, this.#counters.get(ref), retargeted);
    this.#counters.set(ref, counters);
    return await this.#withoutFreePorts(
      ref,
      counters.map(({ statistics }) => statistics),
    );
  }

  /**
   * HAProxy counts a connection for which no local port is free as one that did not reach its target. Only its log tells
   * the difference.
   */
  async #withoutFreePorts(
    ref: ContainerRef,
    counters: readonly ListenerStatistics[],
  ): Promise<readonly ListenerStatistics[]> {
    const lost = ({ failures }: ListenerStatistics): number => failures?.unreachableNow ?? 0;
    if (!counters.some((listener) => lost(listener) > 0)) return counters;
    if (!(await this.context.runtime.logs(ref, LAST_LINES)).includes(': no free ports')) return counters;
    return counters.map((listener) => {
      const { failures = {} } = listener;
      const limitReached = lost(listener);
      const unreachable = (failures.unreachable ?? 0) - limitReached;
      const moved = { unreachable, unreachableNow: 0, limitReached, limitReachedNow: limitReached };
      return { ...listener, failures: { ...failures, ...moved } };
    });
  }

  /** HAProxy derives its limit from that of open files. Further connections wait until others end. */
  protected override async limit(
    { ref }: ProxyInstance,
    counters: readonly ListenerStatistics[],
  ): Promise<ConnectionLimit | undefined> {
    if (!this.supports.statistics) return undefined;
    const connections = Number(/^Maxconn: (\d+)$/m.exec(await ask(this.context.runtime, ref, ['show', 'info']))?.[1]);
    return { connections, reached: counters.reduce((sum, { open }) => sum + open, 0) >= connections };
  }
}
