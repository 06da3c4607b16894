import { Namespaces } from '../support/namespaces.js';
import type { Bench, Part } from './bench.js';
import { chain, direct, Gateway, type Forwarder } from './forwarders.js';
import { Producers } from './iperf.js';
import { FOUR, measureThroughput, ONE, throughputTable } from './throughput.js';

/** Used only inside the namespaces, so they conflict with nothing. */
const PRODUCER = '10.77.1.1';
const INBOUND_LAN = '10.77.1.2';
const INBOUND_WAN = '10.77.2.1';
const OUTBOUND_WAN = '10.77.2.2';
const OUTBOUND_LAN = '10.77.3.1';
const CONSUMER = '10.77.3.2';

const GATEWAY_PORTS = { first: 12_000, last: 12_099 };
const PRODUCER_PORT = 5201;

const ROLES = ['producer', 'inbound', 'outbound', 'consumer'] as const;
type Network = Namespaces<(typeof ROLES)[number]>;

/**
 * Four network namespaces in a row: producer, inbound gateway, outbound gateway, consumer. Neighbours are connected by a
 * veth pair. The gateways also route, for the direct way. Needs root.
 */
async function makeNetwork(): Promise<Network> {
  const network: Network = await Namespaces.make(...ROLES);
  try {
    const end = (at: (typeof ROLES)[number], device: string, host: string) => ({ at, device, address: `${host}/24` });
    await network.link(end('producer', 'lan', PRODUCER), end('inbound', 'lan', INBOUND_LAN));
    await network.link(end('inbound', 'wan', INBOUND_WAN), end('outbound', 'wan', OUTBOUND_WAN));
    await network.link(end('outbound', 'lan', OUTBOUND_LAN), end('consumer', 'lan', CONSUMER));
    await network.ip('producer', 'route', 'add', 'default', 'via', INBOUND_LAN);
    await network.ip('inbound', 'route', 'add', 'default', 'via', OUTBOUND_WAN);
    await network.ip('outbound', 'route', 'add', 'default', 'via', INBOUND_WAN);
    await network.ip('consumer', 'route', 'add', 'default', 'via', OUTBOUND_LAN);
    for (const gateway of ['inbound', 'outbound'] as const) {
      await network.run(gateway, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    }
    return network;
  } catch (error) {
    await network[Symbol.asyncDispose]();
    throw error;
  }
}

/** Chains of two proxies from namespace to namespace, compared with kernel routing. Needs root, ip and iperf3. */
export async function namespacesPart(bench: Bench): Promise<Part> {
  await using network = await makeNetwork();
  const addresses = Array.from({ length: FOUR.listeners }, (_, i) => ({ host: PRODUCER, port: PRODUCER_PORT + i }));
  await using producers = await Producers.start(addresses, network.prefix('producer'));
  const routed: Forwarder = { ...direct, name: 'kernel routing' };
  const proxies = bench.missing.haproxy === undefined ? ['relay', 'haproxy'] : ['relay'];
  await using gateways = new Gateways();
  const chains: Forwarder[] = [];
  for (const proxy of proxies) chains.push(await gateways.chain(bench, network, proxy));
  const contest = {
    contenders: [routed, ...chains],
    baselines: [routed],
    producers: producers.addresses,
    consumer: network.prefix('consumer'),
  };
  const throughput = [];
  for (const load of [ONE, FOUR]) throughput.push(...(await measureThroughput(bench, contest, load)));
  return {
    name: 'Chain of two gateways in four network namespaces',
    method:
      `Producer, inbound gateway, outbound gateway and consumer on veth pairs, iperf3 \`--reverse\` for ${bench.seconds} s, ` +
      `${bench.rounds} rounds interleaved: median [min–max]. CPU is that of the proxies of both gateways.`,
    tables: [throughputTable('Throughput', throughput)],
    goals: [],
    notMeasured: bench.missing.haproxy === undefined ? [] : [`2 × haproxy: ${bench.missing.haproxy}`],
    broken: [],
    data: { throughput },
  };
}

/** Pairs of gateways, closed together. */
class Gateways implements AsyncDisposable {
  readonly #open: Gateway[] = [];

  async chain(bench: Bench, network: Network, proxy: string): Promise<Forwarder> {
    const open = async (host: string, role: 'inbound' | 'outbound'): Promise<Gateway> => {
      const place = { host, ports: GATEWAY_PORTS, prefix: network.prefix(role) };
      const gateway = await Gateway.open(bench, proxy, proxy, { place });
      this.#open.push(gateway);
      return gateway;
    };
    return chain(`2 × ${proxy}`, await open(OUTBOUND_LAN, 'outbound'), await open(INBOUND_WAN, 'inbound'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.map((gateway) => gateway[Symbol.asyncDispose]()));
  }
}
