import {
  createRenderer,
  formatAddress,
  ProxyContainer,
  quote,
  type Address,
  type ContainerRef,
  type ListenerStatistics,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type Renderer,
  type StreamView,
} from '@scistream/core';
import { templateDirectory } from '@scistream/templates';
import { countersOf } from './counters.js';
import type { HaproxyOptions } from './options.js';
import { ask, commandFailed, RUNTIME_SOCKET } from './runtime-socket.js';

const CONFIG = 'haproxy.cfg';
const CHECK_CONFIG = 'check.cfg';
const CHECK_VARIABLE = 'SCISTREAM_CHECK';

/** Largest descriptor limit with which select(2) is used, whose sets hold 1024. */
const SELECT_LIMIT = 1000;

/** Descriptors besides two per connection and one per listener: log, poller, timer and runtime socket of each thread. */
const SPARE_DESCRIPTORS = 64;

/**
 * Where clients are sent before the target is known: nobody listens there (binding it needs root), so each try fails at
 * once and the client is held. Never 0.0.0.0, which HAProxy takes for "the address the client asked for", itself.
 */
const NOWHERE: Address = { host: '127.0.0.1', port: 1 };

/** All that HAProxy 2.6 answers when `set server … addr … port …` was obeyed; it puts `, ` between the two halves. */
const RETARGETED =
  /^(IP changed from '.+' to '.+'|no need to change the addr), (port changed from '.+' to '.+'|no need to change the port)\b/;

/**
 * TCP over HAProxy, one process per stream. New targets go through the runtime socket, so neither a listener nor a
 * connection in flight is touched; the configuration file is rewritten too, so that it always says what runs.
 * Clients that come before their target are held about 30 s (dataplane.md §0.6). One that leaves meanwhile without having
 * sent anything never reaches the target; one that has sent something may, because it looks like one that has said all
 * it wants to say and waits for the answer (`option abortonclose` would cut those too).
 */
export class HaproxyContainer extends ProxyContainer {
  readonly supports = {
    tcp: true,
    udp: false,
    tls: false,
    rateLimit: false,
    liveRetarget: true,
    statistics: true,
  };
  readonly #options: HaproxyOptions;
  readonly #renderer: Renderer;
  readonly #counters = new WeakMap<ContainerRef, readonly ListenerStatistics[]>();

  constructor(context: PluginContext, options: HaproxyOptions) {
    super(context, 'haproxy');
    this.#options = options;
    this.#renderer = createRenderer([...(options.templates ? [options.templates] : []), templateDirectory('haproxy')]);
  }

  protected override describe(view: StreamView): ProxyDescription {
    const { image, executable } = this.#options;
    return {
      image,
      executable,
      args: ['-db', '-f', CONFIG],
      config: CONFIG,
      files: {
        [CONFIG]: renderConfig(this.#renderer, view, this.#options),
        [CHECK_CONFIG]: `global\n  setenv ${CHECK_VARIABLE} 1\n`,
      },
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
    return /^Pid: \d+$/m.test(await ask(this.context.runtime, ref, ['show', 'info']));
  }

  protected override async retarget({ ref, view }: ProxyInstance): Promise<boolean> {
    for (const i of view.listeners.keys()) {
      const { host, port } = view.targets[i] ?? NOWHERE;
      const command = ['set', 'server', `b${i}/s${i}`, 'addr', host, 'port', String(port)];
      const reply = await ask(this.context.runtime, ref, command);
      if (!RETARGETED.test(reply)) throw commandFailed(command, `it answered ${quote(reply)}`);
    }
    return true;
  }

  protected override async statistics({ ref, view }: ProxyInstance): Promise<readonly ListenerStatistics[]> {
    const stat = await ask(this.context.runtime, ref, ['show', 'stat']);
    const sessions = await ask(this.context.runtime, ref, ['show', 'sess', 'all']);
    const counters = countersOf(stat, sessions, view.listeners.length, this.#counters.get(ref));
    this.#counters.set(ref, counters);
    return counters;
  }
}

/** The configuration file for a stream as it is now. Every value in `view` has been parsed into a type before. */
export function renderConfig(renderer: Renderer, view: StreamView, options: HaproxyOptions): string {
  const { threads, bufferSize, maxConnections } = options;
  const fileLimit = 2 * maxConnections + view.listeners.length + SPARE_DESCRIPTORS;
  return renderer.render(`${CONFIG}.njk`, {
    uid: view.uid,
    role: view.role,
    socket: RUNTIME_SOCKET,
    checkVariable: CHECK_VARIABLE,
    fileLimit,
    select: fileLimit <= SELECT_LIMIT,
    threads,
    bufferSize,
    listeners: view.listeners.map(({ address, fd }, i) => ({
      address: formatAddress(address),
      fd,
      target: formatAddress(view.targets[i] ?? NOWHERE),
    })),
  });
}
