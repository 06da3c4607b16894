import { parseAddress, parseDuration, parseRate, SciStreamError, type Action, type Identity } from '@scistream/core';
import type { S2csConfig } from '@scistream/core/config';

/** What somebody asks a policy, as the flags of `policy check` say it. */
export interface Question {
  readonly as: string;
  readonly group?: readonly string[] | undefined;
  readonly admin: boolean;
  readonly action: 'request' | 'hello' | 'update' | 'release' | 'view';
  readonly role: 'PROD' | 'CONS';
  readonly gateway?: string | undefined;
  readonly proxy?: string | undefined;
  readonly runtime?: string | undefined;
  readonly encryption: 'tls' | 'none';
  readonly connections: number;
  readonly rate?: string | undefined;
  readonly lifetime?: string | undefined;
  readonly streams: number;
  readonly target?: readonly string[] | undefined;
}

/** @param as `issuer:subject`; the subject begins after the last colon. @throws SCI_USAGE */
export function identityOf({ as, group, admin }: Pick<Question, 'as' | 'group' | 'admin'>): Identity {
  const at = as.lastIndexOf(':');
  if (at < 1 || at === as.length - 1) {
    throw new SciStreamError('SCI_USAGE', `--as ${as} is not issuer:subject.`, {
      suggestions: ['Write for example --as token:alice.'],
    });
  }
  return { issuer: as.slice(0, at), subject: as.slice(at + 1), admin, ...(group && { groups: group }) };
}

/** The action on a stream of the caller's own. @throws SCI_ADDRESS_INVALID, SCI_RATE_INVALID, SCI_DURATION_INVALID */
export function actionOf(question: Question, { gateways }: S2csConfig): Action {
  const { action, role, proxy = '', runtime = '', encryption, connections, streams, target = [] } = question;
  const gateway = gateways.find(({ name }) => question.gateway === undefined || name === question.gateway);
  if (!gateway) {
    throw new SciStreamError('SCI_NAME_INVALID', `There is no gateway ${question.gateway} in the configuration.`, {
      suggestions: [`Use ${gateways.map(({ name }) => name).join(' or ')}.`],
    });
  }
  const lifetimeMs = question.lifetime === undefined ? 0 : parseDuration(question.lifetime);
  const now = new Date().toISOString();
  const asks = action === 'request';
  const stream = {
    uid: '00000000-0000-0000-0000-000000000000',
    version: 1,
    name: '',
    role,
    state: 'reserving',
    owner: question.as,
    gateway: gateway.name,
    // Of a stream that exists, the record says what it got.
    proxy: proxy || (asks ? '' : gateway.proxy),
    runtime: runtime || (asks ? '' : gateway.runtime),
    transport: 'tcp',
    encryption,
    listeners: [],
    announced: [],
    targets: [],
    bitsPerSecond: question.rate === undefined ? 0 : parseRate(question.rate),
    rateEnforced: false,
    legacyRate: 0,
    createdAt: now,
    expiresAt: now,
  } as const;
  if (asks) return { kind: action, stream, connections, lifetimeMs, usage: { streams, bitsPerSecond: 0 } };
  if (action !== 'update') return { kind: action, stream };
  return { kind: action, stream, targets: target.map((text) => parseAddress(text, 'Target')) };
}
