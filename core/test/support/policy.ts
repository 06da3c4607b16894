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
import { temporaryDirectory, testRecord } from '@scistream/core/testing';

export const ALICE: Identity = { issuer: 'token', subject: 'alice', admin: false };
export const BOB: Identity = { issuer: 'token', subject: 'bob', admin: false };
export const ROOT: Identity = { issuer: 'token', subject: 'root', admin: true };

export const STREAM: StreamRecord = {
  ...testRecord('stream-0001'),
  owner: 'token:alice',
  gateway: 'dtn1',
  proxy: '',
  runtime: '',
  encryption: 'tls',
  listeners: [],
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

/** A policy with these rules, written as JSON, which is valid YAML. */
export async function policyOf(rules: readonly object[], resolver: Resolver = noNames): Promise<RulesPolicy> {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'policy.yaml');
  await writeFile(file, JSON.stringify({ rules }));
  const policy = new RulesPolicy(file, placing, new NameLookups(resolver));
  await policy.load().finally(() => directory.remove());
  return policy;
}

/** `yes`, or the code, message and suggestions of the error. */
export async function answer(check: Promise<Granted>): Promise<string> {
  try {
    await check;
    return 'yes';
  } catch (error) {
    if (!SciStreamError.is(error)) throw error;
    return `${error.code}: ${error.message} ${error.suggestions.join(' ')}`;
  }
}
