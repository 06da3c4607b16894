import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Address, Role, StreamRequest } from '@scistream/core';
import { listener, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';

type StreamTls = NonNullable<StreamRequest['tls']>;

/** What both sides of a stream need. */
export interface Credentials {
  readonly PROD: StreamTls;
  readonly CONS: StreamTls;
}

const run = promisify(execFile);
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=test'];

/** An authority of its own, and a certificate for each side. */
export async function makeCredentials(): Promise<Credentials> {
  const directory = await mkdtemp(join(tmpdir(), 'scistream-'));
  const path = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args, { cwd: directory });
  const side = async (name: string, peer: string): Promise<StreamTls> => {
    const extension = ['-addext', `subjectAltName=DNS:${name}`];
    await openssl('req', '-new', ...NEW_KEY, ...extension, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    const sign = ['x509', '-req', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-copy_extensions', 'copy'];
    await openssl(...sign, '-days', '2', '-in', `${name}.csr`, '-out', `${name}.pem`);
    const [certificate, key, ca] = await Promise.all(
      [`${name}.pem`, `${name}.key`, 'ca.pem'].map((file) => readFile(path(file), 'utf8')),
    );
    return { certificate: certificate ?? '', key: key ?? '', ca: ca ?? '', peer };
  };
  try {
    await openssl('req', '-x509', ...NEW_KEY, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.pem');
    const prod = await side('prod.test', 'cons.test');
    return { PROD: prod, CONS: await side('cons.test', 'prod.test') };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A stream across two gateways, both in one environment. */
export interface Pair {
  readonly prod: StreamRequest;
  readonly cons: StreamRequest;
  /** Where the consumer connects. */
  readonly address: Address;
}

/** Starts one side of a stream. */
export async function startSide(
  env: ProxyEnvironment,
  role: Role,
  tls: StreamTls | undefined,
  shape: StreamShape = {},
): Promise<StreamRequest> {
  const request = { ...(await env.reserve(shape)), role, ...(tls ? { tls } : {}) };
  await env.s2ds.start(request);
  return request;
}

/** Consumer → CONS → PROD → target. @param credentials Absent: by a shared key. */
export async function startPair(
  env: ProxyEnvironment,
  target: Address,
  credentials: Credentials | undefined,
  shape: StreamShape = {},
): Promise<Pair> {
  const { uid, ...rest } = shape;
  const prod = await startSide(env, 'PROD', credentials?.PROD, { ...rest, ...(uid ? { uid } : {}) });
  await env.s2ds.updateTargets(prod.uid, [target]);
  const cons = await startSide(env, 'CONS', credentials?.CONS, rest);
  await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
  return { prod, cons, address: listener(cons) };
}
