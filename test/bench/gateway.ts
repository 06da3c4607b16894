/**
 * `node gateway.js JSON`: a gateway without a control server. It starts proxies exactly as for a stream, and can run in a
 * network namespace. It first prints how long it took to get ready ({@link GatewayOpened}), then reads one
 * {@link GatewayRequest} per line and answers each with one line. When its input ends or on SIGTERM it releases
 * everything. If it is killed, the next one with the same state recovers its streams. Any failure ends it.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { formatAddress, silentLogger, type StreamTls } from '@scistream/core';
import { BUILT_INS, LocalGateway, Providers, type PortRange, parseAddress, type Role } from '@scistream/core/internal';
import { testSpec } from '@scistream/core/testing';
import docker from '@scistream/plugin-dockersock';
import haproxy from '@scistream/plugin-haproxy';
import nginx from '@scistream/plugin-nginx';
import stunnel from '@scistream/plugin-stunnel';

/** The argument of the program. */
export interface GatewayStart {
  /** The address of its listeners. */
  readonly host: string;
  readonly ports: PortRange;
  readonly proxy: string;
  readonly runtime: string;
  /** Options of the proxy and of the runtime. */
  readonly options: {
    readonly proxy: Readonly<Record<string, unknown>>;
    readonly runtime: Readonly<Record<string, unknown>>;
  };
  /** Absolute path of its state directory, which contains the directories of proxies. */
  readonly state: string;
}

/** The first line: ms until it was ready, including the recovery of existing streams. */
export interface GatewayOpened {
  readonly openMs: number;
}

/** A stream to start: one listener for each target (host:port). */
export interface GatewayWish {
  readonly targets: readonly string[];
  readonly role: Role;
  readonly tls?: StreamTls;
}

/** Starts streams concurrently, sets other targets, or releases streams concurrently. */
export type GatewayRequest =
  | { readonly start: readonly GatewayWish[] }
  | { readonly retarget: string; readonly targets: readonly string[] }
  | { readonly release: readonly string[] };

/** The answer to `start`, one for each stream. Every entry (host:port) accepts and forwards to its target. */
export interface StreamStarted {
  readonly uid: string;
  readonly entries: readonly string[];
  /** From the reservation until its listeners accept, in ms. Targets are set afterwards. */
  readonly startMs: number;
}

/** The answer to `retarget`: duration of the call. The answer to `release` is `{}`. */
export interface Retargeted {
  readonly updateMs: number;
}

const { host, ports, proxy, runtime, options, state } = JSON.parse(process.argv[2] ?? '{}') as GatewayStart;
const plugins = [haproxy, nginx, stunnel, docker].flatMap(({ providers: found }) => found);
const providers = new Providers({
  builtIns: [...BUILT_INS, ...plugins.map((provider) => ({ provider, summary: '' }))],
  plugins: [],
  config: { proxies: { [proxy]: options.proxy }, runtimes: { [runtime]: options.runtime }, plugins: [] },
});
const settings = { name: 'bench', wan: host, lan: host, ports, proxy, runtime };
const gateway = new LocalGateway(settings, providers, silentLogger, state);
const { signal } = new AbortController();

async function start({ targets, role, tls }: GatewayWish): Promise<StreamStarted> {
  const uid = randomUUID();
  const encryption = tls ? ('tls' as const) : ('none' as const);
  const spec = { ...testSpec, role, connections: targets.length, encryption };
  const begun = performance.now();
  const { listeners } = await gateway.reserve(uid, spec, tls);
  await gateway.start(uid, signal);
  const startMs = performance.now() - begun;
  await update(uid, targets);
  return { uid, entries: listeners.map(formatAddress), startMs };
}

async function update(uid: string, targets: readonly string[]): Promise<Retargeted> {
  const parsed = targets.map((target) => parseAddress(target));
  const begun = performance.now();
  await gateway.updateTargets(uid, parsed, signal);
  return { updateMs: performance.now() - begun };
}

async function answer(request: GatewayRequest): Promise<object> {
  if ('start' in request) return await Promise.all(request.start.map(start));
  if ('retarget' in request) return await update(request.retarget, request.targets);
  await Promise.all(request.release.map((uid) => gateway.release(uid)));
  return {};
}

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const requests = createInterface(process.stdin);
process.on('SIGTERM', () => requests.close());
try {
  const begun = performance.now();
  await gateway.open();
  say({ openMs: performance.now() - begun } satisfies GatewayOpened);
  for await (const line of requests) say(await answer(JSON.parse(line) as GatewayRequest));
} finally {
  await gateway.releaseAll();
  await gateway.close();
}
process.exit(0);
