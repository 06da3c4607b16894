import type { Bench, Part } from './bench.js';
import { chain, direct, Gateway, type Forwarder } from './forwarders.js';
import { Producers } from './iperf.js';
import { run, succeed } from './process.js';
import { FOUR, measureThroughput, ONE, throughputTable } from './throughput.js';

/** Only inside the namespaces, so they clash with nothing. */
const PRODUCER = '10.77.1.1';
const INBOUND_LAN = '10.77.1.2';
const INBOUND_WAN = '10.77.2.1';
const OUTBOUND_WAN = '10.77.2.2';
const OUTBOUND_LAN = '10.77.3.1';
const CONSUMER = '10.77.3.2';

const GATEWAY_PORTS = { first: 12_000, last: 12_099 };
const PRODUCER_PORT = 5201;

/**
 * Four network namespaces in a row, each with a name that only this process uses: producer, inbound gateway, outbound
 * gateway, consumer. Between neighbours is a veth pair, and the gateways also route, which is the direct way.
 */
export class Network implements AsyncDisposable {
  readonly producer = `scistream-bench-producer-${process.pid}`;
  readonly inbound = `scistream-bench-inbound-${process.pid}`;
  readonly outbound = `scistream-bench-outbound-${process.pid}`;
  readonly consumer = `scistream-bench-consumer-${process.pid}`;

  get #names(): readonly string[] {
    return [this.producer, this.inbound, this.outbound, this.consumer];
  }

  /** Needs root. */
  static async make(): Promise<Network> {
    const network = new Network();
    try {
      await network.#make();
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #make(): Promise<void> {
    const { producer, inbound, outbound, consumer } = this;
    for (const name of this.#names) {
      await succeed(['ip', 'netns', 'add', name]);
      await succeed(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
    }
    await this.#link([producer, 'lan', PRODUCER], [inbound, 'lan', INBOUND_LAN]);
    await this.#link([inbound, 'wan', INBOUND_WAN], [outbound, 'wan', OUTBOUND_WAN]);
    await this.#link([outbound, 'lan', OUTBOUND_LAN], [consumer, 'lan', CONSUMER]);
    await succeed(['ip', '-n', producer, 'route', 'add', 'default', 'via', INBOUND_LAN]);
    await succeed(['ip', '-n', inbound, 'route', 'add', 'default', 'via', OUTBOUND_WAN]);
    await succeed(['ip', '-n', outbound, 'route', 'add', 'default', 'via', INBOUND_WAN]);
    await succeed(['ip', '-n', consumer, 'route', 'add', 'default', 'via', OUTBOUND_LAN]);
    for (const gateway of [inbound, outbound]) {
      await succeed([...inNamespace(gateway), 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    }
  }

  /** A veth pair; both ends are made inside, so that the host's own namespace never sees them. */
  async #link(...ends: readonly [namespace: string, device: string, address: string][]): Promise<void> {
    const [[left, leftDevice] = ['', ''], [right, rightDevice] = ['', '']] = ends;
    const peer = ['peer', 'name', rightDevice, 'netns', right];
    await succeed(['ip', 'link', 'add', leftDevice, 'netns', left, 'type', 'veth', ...peer]);
    for (const [namespace, device, address] of ends) {
      await succeed(['ip', '-n', namespace, 'address', 'add', `${address}/24`, 'dev', device]);
      await succeed(['ip', '-n', namespace, 'link', 'set', device, 'up']);
    }
  }

  /** Removes what is there of it, also after half of it could be made. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#names) await run(['ip', 'netns', 'del', name]);
  }
}

const inNamespace = (name: string): readonly string[] => ['ip', 'netns', 'exec', name];

/** Chains of two proxies from namespace to namespace, beside what the kernel routes. Needs root, ip and iperf3. */
export async function namespacesPart(bench: Bench): Promise<Part> {
  await using network = await Network.make();
  const addresses = Array.from({ length: FOUR.listeners }, (_, i) => ({ host: PRODUCER, port: PRODUCER_PORT + i }));
  await using producers = await Producers.start(addresses, inNamespace(network.producer));
  const routed: Forwarder = { ...direct, name: 'kernel routing' };
  const proxies = bench.missing.haproxy === undefined ? ['relay', 'haproxy'] : ['relay'];
  await using gateways = new Gateways();
  const chains: Forwarder[] = [];
  for (const proxy of proxies) chains.push(await gateways.chain(bench, network, proxy));
  const contest = {
    contenders: [routed, ...chains],
    baselines: [routed],
    producers: producers.addresses,
    consumer: inNamespace(network.consumer),
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

/** Pairs of gateways, ended together. */
class Gateways implements AsyncDisposable {
  readonly #open: Gateway[] = [];

  async chain(bench: Bench, { inbound, outbound }: Network, proxy: string): Promise<Forwarder> {
    const open = async (host: string, namespace: string): Promise<Gateway> => {
      const place = { host, ports: GATEWAY_PORTS, prefix: inNamespace(namespace) };
      const gateway = await Gateway.open(bench, proxy, proxy, { place });
      this.#open.push(gateway);
      return gateway;
    };
    return chain(`2 × ${proxy}`, await open(OUTBOUND_LAN, outbound), await open(INBOUND_WAN, inbound));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.map((gateway) => gateway[Symbol.asyncDispose]()));
  }
}
