import { create } from '@bufbuild/protobuf';
import { createContextKey, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import { formatAddress, parseAddress } from '../../contracts/address.js';
import type { Identity } from '../../contracts/authenticator.js';
import { SciStreamError } from '../../contracts/errors.js';
import type { Gateway } from '../../contracts/gateway.js';
import type { ProviderKind } from '../../contracts/plugin.js';
import { isFinal, parseUid, ROLE_CODES, type StreamRecord } from '../../contracts/stream.js';
import { VERSION } from '../../contracts/version.js';
import type { Providers } from '../../plugins/index.js';
import { Streams, type Stream } from '../../wire/gen/scistream/v1/streams_pb.js';
import { Control, ResponseSchema, type Response } from '../../wire/gen/scistream_pb.js';
import {
  connectResultsMessage,
  gatewayMessage,
  microseconds,
  moveMessage,
  mustBeAnswer,
  toMessage,
} from '../../wire/messages.js';
import type { GatewayPool } from '../gateways/pool.js';
import type { WatchLimits, Limits } from '../parts/settings.js';
import type { StreamController } from '../streams/controller.js';
import type { Admitted } from './admission.js';
import { Places } from './places.js';
import { shownResults, shownRoundTrip } from './probe-answers.js';
import { RateLimiter } from './rate-limiter.js';
import { parseRequest } from './request.js';

/** Set by the authentication interceptor before any handler runs. */
export const CALLER = createContextKey<Admitted | undefined>(undefined);

/** Interval at which `Watch` checks the state of the data path, which is not part of the record, ms. */
const WATCH_INTERVAL_MS = 1_000;

/** What the services need from their control server. */
export interface ServiceParts {
  readonly facility: string;
  readonly limits: Pick<Limits & WatchLimits, 'lifetimeMs' | 'connections' | 'watchesPerIdentity' | 'updatesPerSecond'>;
  readonly controller: StreamController;
  readonly gateways: GatewayPool;
  readonly providers: Providers;
}

function admitted(context: HandlerContext): Admitted {
  const found = context.values.get(CALLER);
  if (!found) throw new SciStreamError('SCI_BUG', 'A call reached its handler without an identity.');
  return found;
}

const caller = (context: HandlerContext): Identity => admitted(context).identity;

/** The protocol of existing clients (docs/reference/protocol.md): a thin translation to {@link StreamController}. */
export function controlService(router: ConnectRouter, { facility, controller, limits }: ServiceParts): void {
  const response = (record: StreamRecord, others: readonly string[]): Response =>
    create(ResponseSchema, {
      listeners: record.listeners.map(formatAddress),
      prodListeners: [...others],
      stream: toMessage({ record }, facility),
    });

  const updates = new RateLimiter(
    () => limits.updatesPerSecond,
    'updates of this stream',
    () => undefined,
  );

  router.service(Control, {
    async req(request, context) {
      const { uid, spec, tls } = parseRequest(request, limits);
      const record = await controller.request(uid, spec, tls, caller(context), context.signal);
      return response(record, spec.role === 'inbound' ? record.announced.map(formatAddress) : []);
    },
    async hello({ uid, prodListeners }, context) {
      const { spec, listeners } = await controller.hello(uid, prodListeners, caller(context));
      const message = `HELLO from ${ROLE_CODES[spec.role]} accepted`;
      return { message, listeners: spec.role === 'outbound' ? listeners.map(formatAddress) : [] };
    },
    async update({ uid, remoteListeners }, context) {
      updates.take(`${admitted(context).account} ${parseUid(uid)}`);
      const record = await controller.update(uid, remoteListeners, caller(context));
      return response(record, record.targets.map(formatAddress));
    },
    async release({ uid }, context) {
      await controller.release(uid, caller(context));
      return {};
    },
  });
}

/** The protocol of our own clients: lists, watches and verifies streams, and manages gateways. */
export function streamsService(router: ConnectRouter, parts: ServiceParts): void {
  const { facility, limits, controller, gateways, providers } = parts;
  const get = async (uid: string, context: HandlerContext): Promise<Stream> =>
    toMessage(await controller.get(uid, caller(context)), facility);
  /** The gateway of a stream that the caller may see. */
  const gatewayOf = async (uid: string, context: HandlerContext): Promise<Gateway> =>
    gateways.of((await get(uid, context)).gateway);
  const watches = new Places();

  router.service(Streams, {
    async describeServer() {
      const { streams, waiting } = controller.counts();
      const names = (kind: ProviderKind): string[] =>
        providers.list(kind).flatMap(({ id, error }) => (error ? [] : [id]));
      return {
        facility,
        version: VERSION,
        gateways: (await gateways.overview()).map(gatewayMessage),
        proxies: names('proxy'),
        runtimes: names('runtime'),
        streams,
        waiting,
        maxLifetimeMs: BigInt(limits.lifetimeMs),
        maxConnections: limits.connections,
      };
    },
    get: ({ uid }, context) => get(uid, context),
    async list({ ended }, context) {
      const views = await controller.list(ended, caller(context));
      return { streams: views.map((view) => toMessage(view, facility)) };
    },
    async events({ uid }, context) {
      const events = await controller.events(uid, caller(context));
      return { events: events.map(({ at, what, by = '', detail = '' }) => ({ at, what, by, detail })) };
    },
    async *watch({ uid }, context) {
      const leave = watches.take(admitted(context).account, limits.watchesPerIdentity);
      if (!leave) throw tooManyWatches(limits.watchesPerIdentity);
      // Needed as well: the generator of a caller that has disconnected is not always finished.
      context.signal.addEventListener('abort', leave, { once: true });
      try {
        yield* follow(uid, parts, admitted(context), context.signal);
      } finally {
        leave();
      }
    },
    async openProbe({ uid, tls: encrypted }, context) {
      const gateway = await gatewayOf(uid, context);
      const { address, challenge, expiresMs, tls = false } = await gateway.openProbe(uid, encrypted);
      return { address: formatAddress(address), challenge, expiresMs: BigInt(expiresMs), tls };
    },
    async runProbe({ uid, address, challenge }, context) {
      const target = parseAddress(address, 'Probe');
      const half = parseChallenge(challenge);
      const { gateway, reasons } = await controller.prober(uid, caller(context), target);
      const roundTrip = shownRoundTrip(gateway.runProbe(uid, target, half), reasons, context.signal);
      return { roundTripUs: microseconds(await roundTrip) };
    },
    async probeTargets({ uid, answer, address }, context) {
      const probe = address === '' ? undefined : parseAddress(address, 'Probe');
      const { gateway, reasons } = await controller.prober(uid, caller(context), probe);
      const results = gateway.probeTargets(uid, mustBeAnswer(answer), probe);
      return connectResultsMessage(await shownResults(results, reasons, context.signal));
    },
    async connectTargets({ uid }, context) {
      const { gateway, reasons } = await controller.prober(uid, caller(context));
      return connectResultsMessage(await shownResults(gateway.connectTargets(uid), reasons, context.signal));
    },
    async connectListener({ uid, holdMs }, context) {
      const { gateway } = await controller.prober(uid, caller(context));
      return connectResultsMessage(await gateway.connectListener(uid, Number(holdMs), context.signal));
    },
    drainGateway: async ({ name, drained }, context) =>
      gatewayMessage(await controller.drain(name, drained, caller(context))),
    async *moveStreams({ gateway, graceMs }, context) {
      for await (const one of controller.move(gateway, Number(graceMs), caller(context))) yield moveMessage(one);
    },
    async whoAmI(_request, context) {
      const { subject, issuer, admin, groups = [], expiresAt = '' } = caller(context);
      return { subject, issuer, admin, groups: [...groups], expiresAt };
    },
  });
}

/** Yields the stream now and after every change, until it ends or the caller is no longer authenticated or allowed. */
async function* follow(
  uid: string,
  { facility, controller }: ServiceParts,
  { identity, again }: Admitted,
  signal: AbortSignal,
): AsyncGenerator<Stream> {
  let who = identity;
  let last = '';
  let kind: 'view' | 'list' = 'view';
  for (;;) {
    // Started before the read, so that no change between the two is lost.
    const tick = AbortSignal.timeout(WATCH_INTERVAL_MS);
    const changed = controller.changed(uid, AbortSignal.any([tick, signal])).catch(() => undefined);
    const view = await controller.get(uid, who, kind);
    kind = 'list';
    const message = toMessage(view, facility);
    const { state, restarts, targets, fallbacks, listeners, leaving } = message;
    const hosts = fallbacks.map((further) => further.hosts);
    const now = JSON.stringify([state, restarts, targets, hosts, message.gateway, listeners, leaving]);
    if (now !== last) yield message;
    last = now;
    if (isFinal(view.record.state)) return;
    await changed;
    if (signal.aborted) return;
    who = await again();
  }
}

const tooManyWatches = (most: number): SciStreamError =>
  new SciStreamError(
    'SCI_LIMIT_REACHED',
    `The caller has ${most} watches, the maximum of limits.watchesPerIdentity of this control server.`,
    {
      suggestions: ['End watches that are no longer needed, or poll instead: scistream stream ls'],
    },
  );

function parseChallenge(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new SciStreamError('SCI_USAGE', 'The challenge is not 64 hexadecimal digits.');
}
