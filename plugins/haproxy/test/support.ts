import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Address, ContainerRuntime, Role, StreamTls } from '@scistream/core';
import { listener, temporaryDirectory, type ProxyEnvironment, type StreamShape } from '@scistream/core/testing';

const run = promisify(execFile);

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];

/** Credentials of both sides of one stream, from an authority of its own that is thrown away. */
export async function makeCredentials(
  names = { PROD: 'prod.test', CONS: 'cons.test' },
): Promise<Record<Role, StreamTls>> {
  await using scratch = await temporaryDirectory();
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args, { cwd: scratch.path });
  const file = (name: string): Promise<string> => readFile(join(scratch.path, name), 'utf8');
  await openssl('req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=ca', '-days', '2');
  const side = async (role: Role, peer: Role): Promise<StreamTls> => {
    const [key, csr, pem] = ['key', 'csr', 'pem'].map((end) => `${role}.${end}`) as [string, string, string];
    const subject = ['-subj', `/CN=${names[role]}`, '-addext', `subjectAltName=DNS:${names[role]}`];
    await openssl('req', ...KEY, '-keyout', key, '-out', csr, ...subject);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-copy_extensions', 'copy', '-days', '2'];
    await openssl('x509', '-req', '-in', csr, '-out', pem, ...by);
    return { certificate: await file(pem), key: await file(key), ca: await file('ca.pem'), peer: names[peer] };
  };
  return { PROD: await side('PROD', 'CONS'), CONS: await side('CONS', 'PROD') };
}

/** Starts one side of an encrypted stream. */
export async function startSide(
  env: ProxyEnvironment,
  role: Role,
  tls: StreamTls,
  shape: StreamShape = {},
): Promise<{ uid: string; address: Address }> {
  const request = { ...(await env.reserve(shape)), role, tls };
  await env.s2ds.start(request);
  return { uid: request.uid, address: listener(request) };
}

/** The same runtime, but its unix sockets cannot be reached, as where programs run on another machine. */
export function unreachable(runtime: ContainerRuntime, inheritSockets: boolean): ContainerRuntime {
  const supports = { ...runtime.supports, dial: false, inheritSockets };
  return new Proxy(runtime, {
    get(target, name) {
      if (name === 'supports') return supports;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
