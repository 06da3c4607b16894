import { create } from '@bufbuild/protobuf';
import { createContextKey, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import { formatAddress, parseAddress } from '../../contracts/address.js';
import { ownerOf, type Identity } from '../../contracts/authenticator.js';
import { SciStreamError } from '../../contracts/errors.js';
import type { Logger } from '../../contracts/logger.js';
import type { ProviderKind } from '../../contracts/plugin.js';
import { isFinal, ROLE_CODES, type StreamRecord, type StreamSnapshot } from '../../contracts/stream.js';
import { VERSION } from '../../contracts/version.js';
import type { Providers } from '../../plugins/index.js';
import { Streams, type Stream } from '../../wire/gen/scistream/v1/streams_pb.js';
import { Control, ResponseSchema, type Response } from '../../wire/gen/scistream_pb.js';
import { eventMessage, followedMessage, gatewayMessage, moveMessage, toMessage } from '../../wire/messages.js';
import { connectResultsMessage, microseconds, mustBeAnswer } from '../../wire/probes.js';
import type { GatewayPool } from '../gateways/pool.js';
import type { Limits, PaceLimits, WatchLimits } from '../parts/settings.js';
import type { StreamController } from '../streams/controller.js';
import type { Admitted } from './admission.js';
import { Pace } from './pace.js';
import { Places } from './places.js';
import { shownResults, shownRoundTrip } from './probe-answers.js';
import { parseRequest } from './request.js';
import { RESPONSE, UnreadAnswers } from './unread.js';

/** Set by the authentication interceptor before any handler runs. */
export const CALLER = createContextKey<Admitted | undefined>(undefined);

/** Interval at which `Watch` checks the state of the data path, which is not part of the record, ms. */
const WATCH_INTERVAL_MS = 1_000;

/** What the services need from their control server. */
export interface ServiceParts {
  readonly facility: string;
  readonly limits: Pick<
    Limits & WatchLimits & PaceLimits,
    'lifetimeMs' | 'connections' | 'watchesPerIdentity' | keyof PaceLimits
  >;
  readonly log: Logger;
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
export function controlService(router: ConnectRouter, { facility, controller, limits, log }: ServiceParts): void {
  const pace = new Pace(limits, log);
  const response = (record: StreamRecord, others: readonly string[], { identity }: Admitted): Response =>
    create(ResponseSchema, {
      listeners: record.listeners.map(formatAddress),
      prodListeners: [...others],
      stream: toMessage({ record }, facility, ownerOf(identity)),
    });

  router.service(Control, {
    async req(request, context) {
      pace.request(admitted(context));
      const { uid, spec, tls } = parseRequest(request, limits);
      const record = await controller.request(uid, spec, tls, caller(context), context.signal);
      return response(record, spec.role === 'inbound' ? record.announced.map(formatAddress) : [], admitted(context));
    },
    async hello({ uid, prodListeners }, context) {
      const { spec, listeners } = await controller.hello(uid, prodListeners, caller(context));
      const message = `HELLO from ${ROLE_CODES[spec.role]} accepted`;
      return { message, listeners: spec.role === 'outbound' ? listeners.map(formatAddress) : [] };
    },
    async update({ uid, remoteListeners }, context) {
      pace.update(admitted(context), uid);
      const record = await controller.update(uid, remoteListeners, caller(context));
      return response(record, record.targets.map(formatAddress), admitted(context));
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
  const shown = (view: StreamSnapshot, context: HandlerContext): Stream =>
    toMessage(view, facility, ownerOf(caller(context)));
  const watches = new Places();
  /** Takes the place of one more watch of a caller. @returns Frees it. @throws SCI_LIMIT_REACHED */
  const watching = (context: HandlerContext): (() => void) => {
    const leave = watches.take(admitted(context).account, limits.watchesPerIdentity);
    if (!leave) throw tooManyWatches(limits.watchesPerIdentity);
    // Needed as well: the generator of a caller that has disconnected is not always finished.
    context.signal.addEventListener('abort', leave, { once: true });
    return leave;
  };
  const unread = new UnreadAnswers();
  const addUnread = (bytes: number, { values }: HandlerContext): void => {
    const from = values.get(CALLER);
    if (from) unread.add(from.account, bytes, values.get(RESPONSE));
  };

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
    async get({ uid }, context) {
      const view = await controller.views.get(uid, caller(context));
      addUnread(JSON.stringify(view.record).length, context);
      return shown(view, context);
    },
    async list({ ended, pageSize: size, pageToken: token }, context) {
      const { records, bytes, next } = await controller.views.list(ended, { size, token }, caller(context));
      addUnread(bytes, context);
      const views = await controller.views.view(records);
      return { streams: views.map((view) => shown(view, context)), nextPageToken: next };
    },
    async events({ uid }, context) {
      const events = await controller.views.events(uid, caller(context));
      addUnread(JSON.stringify(events).length, context);
      return { events: events.map(eventMessage) };
    },
    async *followEvents({ uid, after }, context) {
      const { identity, again } = admitted(context);
      const leave = watching(context);
      try {
        const request = { uid, after: after === undefined ? undefined : Number(after) };
        for await (const item of controller.feed.follow(request, identity, again, context.signal))
          yield followedMessage(item, ownerOf(identity));
      } finally {
        leave();
      }
    },
    async *watch({ uid }, context) {
      const leave = watching(context);
      try {
        yield* follow(uid, parts, admitted(context), context.signal);
      } finally {
        leave();
      }
    },
    async openProbe({ uid: asked, tls: encrypted }, context) {
      const { gateway, uid } = await controller.views.place(asked, caller(context));
      const { address, challenge, expiresMs, tls = false } = await gateway.openProbe(uid, encrypted);
      return { address: formatAddress(address), challenge, expiresMs: BigInt(expiresMs), tls };
    },
    async runProbe({ uid: asked, address, challenge }, context) {
      const target = parseAddress(address, 'Probe');
      const half = parseChallenge(challenge);
      const { gateway, reasons, uid } = await controller.prober(asked, caller(context), target);
      const roundTrip = shownRoundTrip(gateway.runProbe(uid, target, half), reasons, context.signal);
      return { roundTripUs: microseconds(await roundTrip) };
    },
    async probeTargets({ uid: asked, answer, address }, context) {
      const probe = address === '' ? undefined : parseAddress(address, 'Probe');
      const { gateway, reasons, uid } = await controller.prober(asked, caller(context), probe);
      const results = gateway.probeTargets(uid, mustBeAnswer(answer), probe);
      return connectResultsMessage(await shownResults(results, reasons, context.signal));
    },
    async connectTargets({ uid: asked }, context) {
      const { gateway, reasons, uid } = await controller.prober(asked, caller(context));
      return connectResultsMessage(await shownResults(gateway.connectTargets(uid), reasons, context.signal));
    },
    async connectListener({ uid: asked, holdMs }, context) {
      const { gateway, uid } = await controller.prober(asked, caller(context));
      return connectResultsMessage(await gateway.connectListener(uid, Number(holdMs), context.signal));
    },
    drainGateway: async ({ name, drained, reason }, context) =>
      gatewayMessage(await controller.drain(name, drained, caller(context), reason)),
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
    const changed = controller.views.changed(uid, who, AbortSignal.any([tick, signal])).catch(() => undefined);
    const view = await controller.views.get(uid, who, kind);
    kind = 'list';
    const message = toMessage(view, facility, ownerOf(who));
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
