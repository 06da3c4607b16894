import { isIP } from 'node:net';
import type { S2csConfig } from '../../config/index.js';
import { parseAddress, type Address } from '../../contracts/address.js';
import type { GatewayDescription } from '../../contracts/gateway.js';
import { machineAddresses } from '../../contracts/machine.js';
import {
  contains,
  endpointsOf,
  isUnspecified,
  parseNetwork,
  reachedBy,
  type Network,
} from '../../contracts/network.js';

/** What describes the addresses of a gateway. `ports` is `first-last`. */
type Described = Pick<GatewayDescription, 'wan' | 'lan' | 'advertise' | 'addresses' | 'ports'>;

const LOOPBACK = ['127.0.0.0/8', '::1'].map(parseNetwork);

/** The addresses of a control server and its gateways. A stream that leads there could loop or reach their services. */
export class OwnAddresses {
  /** Where the daemons listen. */
  readonly #daemons: readonly Address[];

  /** @param gateways Returns the current description of each gateway */
  constructor(
    config: Pick<S2csConfig, 'listen' | 'gateways'>,
    private readonly gateways: () => readonly Described[],
  ) {
    const s2ds = config.gateways.map((gateway) => gateway.s2ds).filter((text) => !/^(embedded$|unix:)/.test(text));
    this.#daemons = [config.listen, ...s2ds.map((text) => parseAddress(text))];
  }

  /** Every address of the gateways and of this machine, each as a network of one address. */
  networks(): readonly Network[] {
    const all = [
      ...this.gateways().flatMap((one) => [...hostsOf(one), ...(one.addresses ?? [])]),
      ...machineAddresses(),
    ];
    return [...new Set(all)].map(parseNetwork);
  }

  /**
   * Returns what listens at a target, or may listen there later: a daemon, or a listener in the port range of a gateway. A
   * name is judged by its port only. Undefined: neither.
   */
  reserved(target: Address): 'a daemon of this facility' | 'the port range of a gateway' | undefined {
    if (this.#daemons.some((daemon) => this.#reaches(target, daemon))) return 'a daemon of this facility';
    const inRange = this.gateways().some((gateway) => {
      const [first = 0, last = 0] = gateway.ports.split('-').map(Number);
      return target.port >= first && target.port <= last && mayReach(target, hostsOf(gateway));
    });
    return inRange ? 'the port range of a gateway' : undefined;
  }

  /** The addresses of a listener: as others reach it, and as it is bound. */
  boundTo(listener: Address): readonly Address[] {
    const bound = this.gateways().filter(({ advertise }) => advertise === listener.host);
    return [listener, ...bound.map(({ wan }) => ({ host: wan, port: listener.port }))];
  }

  #reaches(target: Address, daemon: Address): boolean {
    if (target.port !== daemon.port) return false;
    if (mayReach(target, [daemon.host])) return true;
    // A daemon on every address, or on those of a name, which is not resolved here.
    const all = isUnspecified(daemon.host) || isIP(daemon.host) === 0 ? [...LOOPBACK, ...this.networks()] : [];
    return reachedBy(target.host).some((ip) => all.some((network) => contains(network, ip)));
  }
}

const hostsOf = ({ wan, lan, advertise }: Described): readonly string[] => [
  wan,
  lan,
  ...(advertise ? [advertise] : []),
];

/** Whether a target may be on one of the hosts. A name may be on each of them. */
function mayReach({ host, port }: Address, hosts: readonly string[]): boolean {
  const keys = endpointsOf({ host, port });
  return keys.length === 0 || hosts.some((own) => endpointsOf({ host: own, port }).some((key) => keys.includes(key)));
}
