import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { SciStreamError } from '../contracts/errors.js';
import type { GatewayStatus } from '../contracts/gateway.js';
import type { StreamRecord } from '../contracts/stream.js';
import { VERSION } from '../contracts/version.js';
import { within } from '../contracts/wait.js';

/** What a scrape reads. */
export interface Observed {
  gateways(): Promise<readonly GatewayStatus[]>;
  /** The live streams. */
  streams(): readonly StreamRecord[];
}

/** Maximum time of one observation, ms. Prometheus waits for 10 s by default. */
const OBSERVE_MS = 5_000;
/** Upper bounds of the durations of calls, s. REQ waits for HELLO, by default up to 180 s. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 180];

/**
 * The metrics of a control server, in the text format of Prometheus. Labels are names of gateways, proxies, runtimes, states,
 * calls and error codes, never a uid, an identity or an address, so their number has a bound.
 * Names: https://prometheus.io/docs/practices/naming/
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #calls = this.#counter('scistream_calls_total', 'Calls by result; a streaming call counts when it starts.', [
    'rpc',
    'code',
  ]);
  readonly #seconds = new Histogram({
    name: 'scistream_call_duration_seconds',
    help: 'Duration of calls that succeeded, without streaming calls.',
    labelNames: ['rpc'],
    buckets: SECONDS,
    registers: [this.#registry],
  });
  readonly #streams = this.#gauge('scistream_streams', 'Live streams.', ['gateway', 'proxy', 'runtime', 'state']);
  readonly #up = this.#gauge('scistream_gateway_up', '1 if the data server of the gateway answers.', ['gateway']);
  readonly #drained = this.#gauge('scistream_gateway_drained', '1 if the gateway is drained.', ['gateway']);
  readonly #ports = this.#gauge('scistream_gateway_ports', 'Ports in the range of the gateway.', ['gateway']);
  readonly #portsInUse = this.#gauge('scistream_gateway_ports_in_use', 'Ports that streams lease.', ['gateway']);
  readonly #capacity = this.#gauge(
    'scistream_gateway_capacity_bits_per_second',
    'Configured capacity. Absent if none is configured.',
    ['gateway'],
  );
  readonly #reserved = this.#gauge('scistream_gateway_reserved_bits_per_second', 'Sum of the reserved rates.', [
    'gateway',
  ]);
  #rendering: Promise<string> | undefined;

  constructor(private readonly observed: Observed) {
    this.#gauge('scistream_build_info', 'Always 1; the version is a label.', ['version']).set({ version: VERSION }, 1);
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Media type of {@link text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Counts calls and measures their time. It must see the errors of all other interceptors and of the handlers. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    const rpc = request.method.name;
    const begun = performance.now();
    try {
      const response = await next(request);
      this.#calls.inc({ rpc, code: 'ok' });
      if (!response.stream) this.#seconds.observe({ rpc }, (performance.now() - begun) / 1000);
      return response;
    } catch (error) {
      this.#calls.inc({ rpc, code: codeOf(error) });
      throw error;
    }
  };

  /**
   * All metrics. Scrapes at the same time share one observation.
   * @throws SCI_DEADLINE if the gateways do not answer in time
   */
  text(): Promise<string> {
    this.#rendering ??= within(this.#render(), OBSERVE_MS, late).finally(() => (this.#rendering = undefined));
    return this.#rendering;
  }

  async #render(): Promise<string> {
    const gateways = await this.observed.gateways();
    for (const gauge of [this.#up, this.#drained, this.#ports, this.#portsInUse, this.#capacity, this.#reserved])
      gauge.reset();
    for (const { description, drain, portsTotal, capacity, capacityInUse, error } of gateways) {
      const gateway = description.name;
      this.#up.set({ gateway }, error ? 0 : 1);
      this.#drained.set({ gateway }, drain ? 1 : 0);
      this.#ports.set({ gateway }, portsTotal);
      if (description.portsInUse !== undefined) this.#portsInUse.set({ gateway }, description.portsInUse);
      if (capacity > 0) this.#capacity.set({ gateway }, capacity);
      this.#reserved.set({ gateway }, capacityInUse);
    }
    this.#streams.reset();
    for (const { gateway, proxy, runtime, state } of this.observed.streams())
      this.#streams.inc({ gateway, proxy, runtime, state });
    return await this.#registry.metrics();
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }
}

/** The code of an error: one of ours, or the status of an error of Connect, such as an unknown call. */
function codeOf(error: unknown): string {
  if (SciStreamError.is(error)) return error.code;
  return error instanceof ConnectError ? (Code[error.code] ?? 'Unknown') : 'SCI_BUG';
}

const late = (): SciStreamError =>
  new SciStreamError('SCI_DEADLINE', `The gateways did not describe themselves within ${OBSERVE_MS / 1000} s.`, {
    suggestions: ['scistream gateway ls shows the gateways that do not answer.'],
  });
