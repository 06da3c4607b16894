import { parseDuration, SciStreamError, type Identity } from '@scistream/core';
import { type S2csConfig, parseAddress, parseRate, parseSources } from '@scistream/core/config';
import type { Action, StreamRecord } from '@scistream/core/server';

/** The action to check, as given by the flags of `policy check`. */
export interface Question {
  readonly as: string;
  readonly group?: readonly string[] | undefined;
  readonly admin: boolean;
  readonly action: 'request' | 'hello' | 'update' | 'release' | 'view';
  /** `PROD` and `CONS` are what the protocol calls the sides. */
  readonly role: 'inbound' | 'outbound' | 'PROD' | 'CONS';
  readonly gateway?: string | undefined;
  readonly proxy?: string | undefined;
  readonly runtime?: string | undefined;
  readonly encryption: 'tls' | 'none';
  readonly connections: number;
  readonly rate?: string | undefined;
  readonly lifetime?: string | undefined;
  readonly streams: number;
  readonly target?: readonly string[] | undefined;
  /** For an update: the networks from which the stream accepts connections. */
  readonly source?: readonly string[] | undefined;
}

/**
 * Parses the identity of a caller. The configuration adds what it says about admins and groups.
 * @param as `issuer:subject`. Both may contain colons: the longest issuer of a configured authenticator wins; without a
 * match the issuer ends at the first colon.
 * @throws SCI_USAGE
 */
export function identityOf(
  { as, group, admin }: Pick<Question, 'as' | 'group' | 'admin'>,
  { auth }: Pick<S2csConfig, 'auth'>,
): Identity {
  const identity = namedBy(as, auth);
  const own = configured(identity, auth);
  const groups = [...new Set([...(group ?? []), ...own.groups])];
  const isAdmin = admin || own.admins.includes(identity.subject) || groups.some((one) => own.adminGroups.includes(one));
  return { ...identity, admin: isAdmin, ...(groups.length > 0 && { groups }) };
}

function namedBy(as: string, auth: S2csConfig['auth']): Pick<Identity, 'issuer' | 'subject'> {
  const known = auth.map(({ use, issuer }) => (typeof issuer === 'string' ? issuer : use));
  const fits = known.filter((issuer) => as.startsWith(`${issuer}:`)).map(({ length }) => length);
  const at = fits.length > 0 ? Math.max(...fits) : as.indexOf(':');
  if (at < 1 || at === as.length - 1) {
    throw new SciStreamError('SCI_USAGE', `--as ${as} is not of the form issuer:subject.`, {
      suggestions: ['Write it like --as token:alice.'],
    });
  }
  return { issuer: as.slice(0, at), subject: as.slice(at + 1) };
}

/** What the authenticators of the identity's issuer say about admins and groups. */
function configured({ issuer, subject }: Pick<Identity, 'issuer' | 'subject'>, auth: S2csConfig['auth']) {
  const mine = auth.filter((one) => (one.issuer ?? one.use) === issuer);
  const tokens = mine.flatMap(({ tokens }) => list(tokens)).filter((token) => field(token, 'subject') === subject);
  const memberOf = mine.flatMap(({ groups }) =>
    Object.entries(groups ?? {}).flatMap(([name, members]) => (list(members).includes(subject) ? [name] : [])),
  );
  return {
    admins: [
      ...mine.flatMap(({ admins }) => list(admins)),
      ...tokens.flatMap((token) => (field(token, 'admin') === true ? [subject] : [])),
    ],
    adminGroups: mine.flatMap(({ adminGroups }) => list(adminGroups)),
    groups: [...memberOf, ...tokens.flatMap((token) => list(field(token, 'groups')).map(String))],
  };
}

// The authenticator checks its options, when the control server starts.
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const field = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;

/**
 * The policy action for a stream that the caller owns.
 * @throws SCI_ADDRESS_INVALID, SCI_RATE_INVALID, SCI_DURATION_INVALID; SCI_CONFIG_INVALID for an invalid network
 */
export function actionOf(question: Question, { gateways, limits }: S2csConfig): Action {
  const { action, role, proxy = '', runtime = '', encryption, connections, streams, target = [], source } = question;
  const gateway = gatewayOf(question, gateways);
  if (source && action !== 'update') {
    throw new SciStreamError('SCI_USAGE', '--source is valid only with --action update.', {
      suggestions: ['Add --action update, or remove --source: a new stream gets the sources of the rule.'],
    });
  }
  const lifetimeMs = question.lifetime === undefined ? 0 : parseDuration(question.lifetime);
  const now = Date.now();
  const asks = action === 'request';
  const spec: StreamRecord['spec'] = {
    name: '',
    role: role === 'inbound' || role === 'PROD' ? 'inbound' : 'outbound',
    transport: 'tcp',
    connections,
    bitsPerSecond: question.rate === undefined ? 0 : parseRate(question.rate),
    // A stream that exists has the lifetime that was granted.
    lifetimeMs: lifetimeMs || (asks ? 0 : limits.lifetimeMs),
    encryption,
    gateway: gateway.name,
    proxy,
    runtime,
    ...(source && { sources: parseSources(source) }),
  };
  const stream: StreamRecord = {
    uid: '00000000-0000-0000-0000-000000000000',
    version: 1,
    spec,
    state: 'reserving',
    owner: question.as,
    gateway: gateway.name,
    // The record of a stream that exists names the ids of its proxy and runtime.
    proxy: proxy || (asks ? '' : gateway.proxy),
    runtime: runtime || (asks ? '' : gateway.runtime),
    listeners: [],
    announced: [],
    targets: [],
    rateEnforced: false,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + (lifetimeMs || limits.lifetimeMs)).toISOString(),
  };
  if (asks) return { kind: action, stream, usage: { streams, bitsPerSecond: 0 } };
  if (action !== 'update') return { kind: action, stream };
  return { kind: action, stream, targets: target.map((text) => parseAddress(text, 'Target')) };
}

function gatewayOf({ gateway: wanted }: Question, gateways: S2csConfig['gateways']): S2csConfig['gateways'][number] {
  const gateway = gateways.find(({ name }) => wanted === undefined || name === wanted);
  if (gateway) return gateway;
  throw new SciStreamError('SCI_NAME_INVALID', `The configuration has no gateway ${wanted}.`, {
    suggestions: [`Use ${gateways.map(({ name }) => name).join(' or ')}.`],
  });
}
