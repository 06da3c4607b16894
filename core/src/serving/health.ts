import { EventEmitter, once } from 'node:events';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as Serving,
} from '../wire/gen/grpc/health/v1/health_pb.js';

type Adapter = ReturnType<typeof connectNodeAdapter>;
type Request = Parameters<Adapter>[0];
type Response = Parameters<Adapter>[1];

/** Stage of a daemon, in this order. */
export type Stage = 'starting' | 'serving' | 'stopping';

const PREFIX = `/${HealthService.typeName}/`;
/**
 * Maximum number of concurrent watchers. It protects the daemon from unauthenticated callers, and is above any real
 * need.
 */
const MAX_WATCHERS = 100;
const MAX_MESSAGE_BYTES = 1024;
const REASONS = {
  starting: 'the daemon is reading its state and recovering streams',
  stopping: 'the daemon is stopping',
} as const;

/**
 * Reports to unauthenticated callers whether a daemon is alive (`/livez`) and serves (`/readyz` and
 * `grpc.health.v1.Health`), and nothing else. Requests read only memory, so frequent checks are cheap.
 * Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export class Health {
  readonly #adapter: Adapter;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #stage: Stage = 'starting';
  #watchers = 0;

  /**
   * @param services Full names of the services that callers may check.
   * @param degraded Whether a part of the daemon is down while the daemon serves.
   */
  constructor(
    private readonly services: readonly string[],
    private readonly degraded: () => boolean = () => false,
  ) {
    const routes = (router: ConnectRouter): void => this.#route(router);
    this.#adapter = connectNodeAdapter({ routes, readMaxBytes: MAX_MESSAGE_BYTES });
  }

  set stage(stage: Stage) {
    this.#stage = stage;
    this.#changes.emit('change');
  }

  /** Answers a health request. @returns Whether the request was one. */
  answer(request: Request, response: Response): boolean {
    const [path = ''] = (request.url ?? '').split('?');
    if (path === '/livez') reply(request, response, 200, { status: 'alive' });
    else if (path === '/readyz') this.#ready(request, response);
    else if (path.startsWith(PREFIX)) this.#adapter(request, response);
    else return false;
    return true;
  }

  #ready(request: Request, response: Response): void {
    if (this.#stage !== 'serving') {
      return reply(request, response, 503, { status: this.#stage, reason: REASONS[this.#stage] });
    }
    const degraded = { status: 'degraded', reason: 'a gateway is down' };
    reply(request, response, 200, this.degraded() ? degraded : { status: 'ready' });
  }

  #route(router: ConnectRouter): void {
    router.service(HealthService, {
      check: ({ service }) => {
        if (!this.#knows(service)) throw new ConnectError('Unknown service.', Code.NotFound);
        return { status: this.#status(service) };
      },
      watch: ({ service }, { signal }) => this.#watch(service, signal),
    });
  }

  /** Ends when the daemon stops, so that the daemon does not wait for the watcher. */
  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<{ status: Serving }> {
    if (this.#watchers >= MAX_WATCHERS) throw new ConnectError('Too many watchers.', Code.ResourceExhausted);
    this.#watchers += 1;
    try {
      let last: Serving | undefined;
      while (!signal.aborted) {
        const changed = once(this.#changes, 'change', { signal }).catch(() => undefined);
        const status = this.#status(service);
        if (status !== last) yield { status };
        last = status;
        if (this.#stage === 'stopping') return;
        await changed;
      }
    } finally {
      this.#watchers -= 1;
    }
  }

  #knows = (service: string): boolean => service === '' || this.services.includes(service);

  #status(service: string): Serving {
    if (!this.#knows(service)) return Serving.SERVICE_UNKNOWN;
    return this.#stage === 'serving' ? Serving.SERVING : Serving.NOT_SERVING;
  }
}

function reply({ method }: Request, response: Response, status: number, body: object): void {
  const asked = method === 'GET' || method === 'HEAD';
  response.statusCode = asked ? status : 405;
  response.setHeader('content-type', 'application/json');
  response.setHeader('cache-control', 'no-store');
  response.end(method === 'GET' ? `${JSON.stringify(body)}\n` : '');
}
