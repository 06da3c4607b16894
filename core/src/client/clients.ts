import type { S2ucConfig } from '../config/schemas.js';
import { formatAddress } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { ControlClient } from './control-client.js';
import { endpointKey, resolveEndpoint, type Endpoint, type TrustSettings } from './endpoint.js';
import type { ServerRef } from './plan.js';

interface Options {
  readonly log: Logger;
  /** As {@link S2ucOptions.trust}. */
  readonly trust?: TrustSettings;
  /** As {@link S2ucOptions.deadlineMs}. */
  readonly deadlineMs?: number | undefined;
}

/** The clients of one {@link S2UC}: one for each control server and its settings. */
export class Clients {
  readonly #clients = new Map<string, ControlClient>();

  constructor(
    private readonly facilities: S2ucConfig['facilities'],
    private readonly options: Options,
  ) {}

  /** @throws as {@link resolveEndpoint} */
  endpoint(ref: ServerRef): Endpoint {
    return typeof ref === 'string' ? resolveEndpoint(ref, this.facilities, this.options.trust) : ref;
  }

  /** @throws as {@link resolveEndpoint} */
  of(ref: ServerRef): ControlClient {
    return this.at(this.endpoint(ref));
  }

  at(endpoint: Endpoint): ControlClient {
    const { log, deadlineMs } = this.options;
    const key = endpointKey(endpoint);
    const client = this.#clients.get(key) ?? new ControlClient(endpoint, log, deadlineMs);
    this.#clients.set(key, client);
    return client;
  }

  /** The clients of these control servers, one for each address. @throws SCI_USAGE if there are none */
  some(servers: readonly ServerRef[]): readonly ControlClient[] {
    const endpoints = servers.map((ref) => this.endpoint(ref));
    const clients = new Map(endpoints.map((endpoint) => [formatAddress(endpoint.address), this.at(endpoint)]));
    if (clients.size > 0) return [...clients.values()];
    throw new SciStreamError('SCI_USAGE', 'The configuration has no facilities.', {
      suggestions: ['Name a control server: --s2cs host:port', 'Create a configuration with: scistream config init'],
    });
  }

  /** Closes all connections. Idempotent. */
  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
