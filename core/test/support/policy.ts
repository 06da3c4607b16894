/** Callers, actions and policies for tests of rules. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  parseAddress,
  SciStreamError,
  type Action,
  type Granted,
  type Identity,
  type StreamRecord,
} from '@scistream/core';
import { NameLookups, RulesPolicy, type Placing, type Resolver } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';

export const ALICE: Identity = { issuer: 'token', subject: 'alice', admin: false };
export const BOB: Identity = { issuer: 'token', subject: 'bob', admin: false };
export const ROOT: Identity = { issuer: 'token', subject: 'root', admin: true };

export const STREAM: StreamRecord = {
  uid: 'stream-0001',
  version: 1,
  name: '',
  role: 'PROD',
  state: 'reserving',
  owner: 'token:alice',
  gateway: 'dtn1',
  proxy: '',
  runtime: '',
  transport: 'tcp',
  encryption: 'tls',
  listeners: [],
  announced: [],
  targets: [],
  bitsPerSecond: 0,
  rateEnforced: false,
  legacyRate: 0,
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-02T00:00:00.000Z',
};

type Request = Extract<Action, { kind: 'request' }>;

export const request = (stream: Partial<StreamRecord> = {}, more: Partial<Request> = {}): Action => ({
  kind: 'request',
  stream: { ...STREAM, ...stream },
  connections: 1,
  lifetimeMs: 0,
  usage: { streams: 0, bitsPerSecond: 0 },
  ...more,
});

export const PLACED = { proxy: 'relay', runtime: 'process' };
export const update = (...targets: string[]): Action => ({
  kind: 'update',
  stream: { ...STREAM, ...PLACED },
  targets: targets.map((text) => parseAddress(text)),
});

const noNames: Resolver = (host) => Promise.reject(new Error(`${host} must not be looked up`));
export const names =
  (known: Readonly<Record<string, readonly string[]>>): Resolver =>
  (host) =>
    Promise.resolve(known[host] ?? []);

export const placing: Placing = ({ proxy, runtime }) =>
  Promise.resolve({ proxy: proxy || 'relay', runtime: runtime || 'process' });

/** A policy with these rules, as JSON, which YAML contains. */
export async function policyOf(rules: readonly object[], resolver: Resolver = noNames): Promise<RulesPolicy> {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'policy.yaml');
  await writeFile(file, JSON.stringify({ rules }));
  const policy = new RulesPolicy(file, placing, new NameLookups(resolver));
  await policy.load().finally(() => directory.remove());
  return policy;
}

/** `yes`, or the code and all that is said. */
export async function answer(check: Promise<Granted>): Promise<string> {
  try {
    await check;
    return 'yes';
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    return `${error.code}: ${error.message} ${error.suggestions.join(' ')}`;
  }
}
