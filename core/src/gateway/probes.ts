import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { addressesOf, formatAddress, formatTarget, type Address, type Target } from '../contracts/address.js';
import { messageOf, S2DSException, systemCode } from '../contracts/errors.js';
import type { ConnectResult, ProbeOffer } from '../contracts/gateway.js';
import type { PortAllocator } from '../contracts/port-allocator.js';
import type { StreamTls } from '../contracts/stream.js';
import { formatDuration } from '../contracts/units.js';
import { within } from '../contracts/wait.js';
import { localAddressFor } from '../proxy/local-address.js';
import { Sources } from '../relay/sources.js';
import { answerChallenge, answerProbe, encrypted, equal, HALF, PROBE_LIFE_MS, readExactly } from './probe-port.js';
import type { Dial } from './probe-runs.js';
import type { GatewayStream } from './store.js';

/** Open probe ports of one stream. Without a limit, a client that cannot get through and retries would take every port. */
const MAX_PROBES = 4;
const MAX_HOLD_MS = 10_000;
export const CONNECT_TIMEOUT_MS = 5_000;
/** The error of a connection for which a run had no time. */
const NOT_TRIED = 'not tried, because the connections before it took too long';

/** The probe ports of one stream. When there are too many, a new one closes the oldest. */
export class StreamProbes {
  /** Closes a probe → resolves when its port is free again. */
  readonly #open = new Map<AbortController, Promise<void>>();
  #count = 0;
  readonly #sources: Sources | undefined;

  /**
   * @param hosts Address of the ports: `bound` here, and `told` to the other side.
   * @param sources As `StreamSpec.sources`: the listeners of the stream reject a prober from elsewhere, too.
   */
  constructor(
    private readonly ports: PortAllocator,
    private readonly uid: string,
    private readonly hosts: { readonly bound: string; readonly told: string },
    sources?: readonly string[],
  ) {
    this.#sources = sources && new Sources(sources);
  }

  /**
   * Opens a port that answers one probe within 10 s.
   * @param tls Credentials of the stream. The port then answers `probeListeners` instead of a challenge.
   * @throws SCI_PORTS_EXHAUSTED, SCI_PORT_TAKEN
   */
  async open(tls?: StreamTls): Promise<ProbeOffer> {
    const end = new AbortController();
    const opening = this.#answer(`${this.uid}/probe${(this.#count += 1)}`, end.signal, tls);
    const over = opening.then(
      ({ closed }) => closed,
      () => undefined,
    );
    this.#open.set(
      end,
      over.finally(() => this.#open.delete(end)),
    );
    const [oldest] = this.#open.keys();
    if (this.#open.size > MAX_PROBES) oldest?.abort();
    return (await opening).offer;
  }

  /** Closes every probe port. Returns when the ports are free. */
  async close(): Promise<void> {
    for (const end of this.#open.keys()) end.abort();
    await Promise.all(this.#open.values());
  }

  async #answer(
    lease: string,
    signal: AbortSignal,
    tls: StreamTls | undefined,
  ): Promise<{ readonly offer: ProbeOffer; readonly closed: Promise<void> }> {
    const [listener] = await this.ports.allocate({ uid: lease, host: this.hosts.bound, transport: 'tcp', count: 1 });
    try {
      if (!listener)
        throw new S2DSException('SCI_PORTS_EXHAUSTED', `No port on ${this.hosts.bound} is free for a probe.`);
      const { address } = listener;
      await listener.close();
      // Two halves, so that each side proves to the other that it has the challenge from the control servers.
      const challenge = tls ? '' : randomBytes(HALF).toString('hex');
      const respond = tls ? encrypted(tls) : (socket: Socket): Promise<void> => answerChallenge(socket, challenge);
      const { closed } = await answerProbe(address, respond, this.#sources, signal);
      const free = closed.finally(() => this.ports.release(lease));
      const told = { host: this.hosts.told, port: address.port };
      return { offer: { address: told, challenge, expiresMs: PROBE_LIFE_MS, tls: tls !== undefined }, closed: free };
    } catch (error) {
      await this.ports.release(lease);
      if (systemCode(error) !== 'EADDRINUSE') throw error;
      throw new S2DSException('SCI_PORT_TAKEN', `Another program took the port of a probe on ${this.hosts.bound}.`, {
        cause: error,
        suggestions: ['Retry.'],
      });
    }
  }
}

/** The connections of a stream to its targets. */
type Outgoing = Pick<GatewayStream, 'targets' | 'localAddress'>;

/** Runs a probe as `Gateway.runProbe`. @throws SCI_FORBIDDEN, SCI_VERIFY_FAILED */
export async function probeTarget(
  uid: string,
  { targets, localAddress }: Outgoing,
  address: Address,
  challenge: string,
  dial: Dial,
): Promise<number> {
  mustBeTarget(uid, targets, address);
  const roundTripMs = await dial(() => runProbe(address, challenge, localAddress));
  if (roundTripMs === undefined) throw new S2DSException('SCI_VERIFY_FAILED', NOT_TRIED);
  return roundTripMs;
}

/**
 * A gateway that connects to any address that a client names would be a port scanner.
 * @throws SCI_FORBIDDEN unless the host is that of a target
 */
export function mustBeTarget(uid: string, targets: readonly Target[], address: Address): void {
  if (!targets.flatMap(addressesOf).some(({ host }) => host === address.host)) {
    const where = formatAddress(address);
    throw new S2DSException('SCI_FORBIDDEN', `The host of ${where} is not a target of stream ${uid}.`);
  }
}

/** Connects to each target once, as `Gateway.connectTargets`. */
export function tryTargets({ targets, localAddress }: Outgoing, dial: Dial): Promise<readonly ConnectResult[]> {
  return eachOnce(targets, dial, (address) => tryConnect(address, 0, localAddress));
}

/** Tries each distinct target once, a few at a time. */
export function eachOnce(
  targets: readonly Target[],
  dial: Dial,
  connect: (address: Address) => Promise<ConnectResult>,
): Promise<readonly ConnectResult[]> {
  const distinct = new Map(targets.map((target) => [formatTarget(target), target]));
  return Promise.all([...distinct.values()].map((target) => inTurn(target, dial, connect)));
}

/** Tries the addresses of a target until one works. @returns the success, or the failure of the preferred address */
async function inTurn(
  target: Target,
  dial: Dial,
  connect: (address: Address) => Promise<ConnectResult>,
): Promise<ConnectResult> {
  let failure: ConnectResult | undefined;
  for (const address of addressesOf(target)) {
    const result = await dial(() => connect(address));
    if (!result) break;
    if (result.error === undefined) return result;
    failure ??= result;
  }
  const { host, port } = target;
  return failure ?? { address: { host, port }, roundTripMs: 0, error: NOT_TRIED };
}

/** Whether the time was enough for the test with this result. */
export const isTried = ({ error }: ConnectResult): boolean => error !== NOT_TRIED;

/** Connects to the first listener, as `Gateway.connectListener`. */
export async function tryListener(
  [first]: readonly { readonly address: Address }[],
  holdMs: number,
  signal: AbortSignal,
  dial: Dial,
): Promise<readonly ConnectResult[]> {
  const connect = (address: Address): Promise<ConnectResult> =>
    tryConnect(address, Math.min(holdMs, MAX_HOLD_MS), undefined, signal);
  return first ? await eachOnce([first.address], dial, connect) : [];
}

/** Sends a challenge and checks the answer. @returns the round-trip time in ms. @throws SCI_VERIFY_FAILED with the reason */
async function runProbe(address: Address, challenge: string, localAddress: string | undefined): Promise<number> {
  const failed = (why: string): S2DSException =>
    new S2DSException('SCI_VERIFY_FAILED', `No connection to ${formatAddress(address)}: ${why}.`, {
      suggestions: ["Open the other gateway's port range in the firewalls between the two gateways."],
    });
  const socket = connect({ ...address, ...localAddressFor(localAddress, address), noDelay: true }).on(
    'error',
    () => undefined,
  );
  try {
    await within(once(socket, 'connect'), CONNECT_TIMEOUT_MS, noAnswer);
    const sent = performance.now();
    socket.write(challenge.slice(0, HALF));
    const answer = await within(
      readExactly(socket, HALF),
      CONNECT_TIMEOUT_MS,
      () => new Error('connected, but no answer'),
    );
    const roundTripMs = performance.now() - sent;
    if (!equal(answer, challenge.slice(HALF))) throw new Error('another program answered');
    return roundTripMs;
  } catch (error) {
    throw failed(messageOf(error));
  } finally {
    socket.destroy();
  }
}

/**
 * Opens a TCP connection and closes it after `holdMs`, or earlier when the other side closes it or `signal` aborts.
 * Never rejects.
 */
async function tryConnect(
  address: Address,
  holdMs: number,
  localAddress: string | undefined,
  signal?: AbortSignal,
): Promise<ConnectResult> {
  const socket = connect({ ...address, ...localAddressFor(localAddress, address) }).on('error', () => undefined);
  const begun = performance.now();
  try {
    await within(once(socket, 'connect'), CONNECT_TIMEOUT_MS, noAnswer);
    const roundTripMs = performance.now() - begun;
    socket.resume();
    if (holdMs > 0) {
      const closed = once(socket, 'close', signal ? { signal } : {});
      await within(closed, holdMs, () => new Error('held long enough')).catch(() => undefined);
    }
    return { address, roundTripMs };
  } catch (error) {
    return { address, roundTripMs: performance.now() - begun, error: messageOf(error) };
  } finally {
    socket.destroy();
  }
}

export const noAnswer = (): Error => new Error(`no answer in ${formatDuration(CONNECT_TIMEOUT_MS)}`);
