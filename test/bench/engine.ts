import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { engines } from '../support/engine.js';
import type { Bench } from './bench.js';
import { Gateway } from './forwarders.js';

/** The stream module in Debian, from which the image is made. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** Proxies that are compared in containers. */
export const CONTAINER_PROXIES = ['relay', 'haproxy', 'nginx'] as const;
export type ContainerProxy = (typeof CONTAINER_PROXIES)[number];

/** The proxies whose program is on this machine. */
export const usable = ({ missing }: Bench): readonly ContainerProxy[] =>
  CONTAINER_PROXIES.filter((proxy) => proxy === 'relay' || missing[proxy] === undefined);

/** A separate Docker engine with an image that contains the proxies of this machine. Needs root and docker. */
export class Engine implements AsyncDisposable {
  private constructor(private readonly engine: Awaited<ReturnType<typeof engines.startEngine>>) {}

  static async start(bench: Bench): Promise<Engine> {
    bench.say('starting a Docker engine');
    return new Engine(await engines.startEngine());
  }

  /** A gateway whose proxies run in its containers, in the network of this machine. */
  gateway(bench: Bench, proxy: ContainerProxy, ports?: number): Promise<Gateway> {
    const { image, host } = this.engine;
    const options = { proxy: { image, ...(proxy === 'nginx' ? { module: NGINX_STREAM } : {}) }, runtime: { host } };
    return Gateway.open(bench, `${proxy} in docker`, proxy, {
      runtime: 'docker',
      options,
      ...(ports === undefined ? {} : { ports }),
    });
  }

  /** Number of containers and volumes, running or not. */
  async count(): Promise<{ readonly containers: number; readonly volumes: number }> {
    const containers = (await this.#get('/containers/json?all=1')) as readonly unknown[];
    const { Volumes: volumes } = (await this.#get('/volumes')) as { readonly Volumes: readonly unknown[] | null };
    return { containers: containers.length, volumes: volumes?.length ?? 0 };
  }

  async #get(path: string): Promise<unknown> {
    const socketPath = this.engine.host.slice('unix://'.length);
    const [answer] = (await once(request({ socketPath, path }).end(), 'response')) as [IncomingMessage];
    return await json(answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.stop();
  }
}
