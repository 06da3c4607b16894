/** Callers, actions and policies for tests of rules. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SciStreamError, type Identity } from '@scistream/core';
import {
  NameLookups,
  RulesPolicy,
  type Placing,
  type Resolver,
  type Action,
  type Granted,
  type StreamRecord,
  type StreamSpec,
  type Usage,
  parseAddress,
} from '@scistream/core/internal';
import { temporaryDirectory, testRecord, testSpec } from '@scistream/core/testing';

export const ALICE: Identity = { issuer: 'token', subject: 'alice', admin: false };
export const BOB: Identity = { issuer: 'token', subject: 'bob', admin: false };
export const ROOT: Identity = { issuer: 'token', subject: 'root', admin: true };

export const SPEC: StreamSpec = { ...testSpec, lifetimeMs: 0, encryption: 'tls', gateway: 'dtn1' };

export const STREAM: StreamRecord = {
  ...testRecord('stream-0001'),
  spec: SPEC,
  owner: 'token:alice',
  gateway: 'dtn1',
  proxy: '',
  runtime: '',
  listeners: [],
};

const NO_USAGE: Usage = { streams: 0, bitsPerSecond: 0 };

/** The request for a stream with this spec. */
export const request = (spec: Partial<StreamSpec> = {}, usage = NO_USAGE): Action => {
  const { gateway = STREAM.gateway, proxy = '', runtime = '' } = spec;
  return { kind: 'request', stream: { ...STREAM, gateway, proxy, runtime, spec: { ...SPEC, ...spec } }, usage };
};

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
