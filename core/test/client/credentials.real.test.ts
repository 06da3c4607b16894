// needs: openssl
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StreamTls } from '@scistream/core';
import { makeCredentials, type StreamCredentials } from '@scistream/core/client';
import { temporaryDirectory } from '@scistream/core/testing';

const s = suite<{ dir: string; remove: () => Promise<void>; one: StreamCredentials; other: StreamCredentials }>(
  'credentials of a stream',
);

const HOUR = 3_600_000;
const inAnHour = (): Date => new Date(Date.now() + HOUR);

s.before(async (context) => {
  const directory = await temporaryDirectory();
  const remove = (): Promise<void> => directory.remove();
  Object.assign(context, {
    dir: directory.path,
    remove,
    one: makeCredentials(inAnHour()),
    other: makeCredentials(inAnHour()),
  });
});
s.after((context) => context.remove());

/** The exit code of `openssl verify` for a certificate: 0 if it is valid. */
async function verify(dir: string, { certificate }: StreamTls, { ca }: StreamTls, ...args: string[]): Promise<number> {
  await writeFile(join(dir, 'ca.crt'), ca);
  await writeFile(join(dir, 'own.crt'), certificate);
  const all = ['verify', '-x509_strict', '-CAfile', 'ca.crt', '-no-CApath', ...args, 'own.crt'];
  const { status } = spawnSync('openssl', all, { cwd: dir });
  return status ?? -1;
}

s('each certificate is valid for its purpose, its name and its own stream', async ({ dir, one, other }) => {
  const server = ['-purpose', 'sslserver'];
  const client = ['-purpose', 'sslclient'];
  assert.is(await verify(dir, one.from, one.from, ...server, '-verify_hostname', one.to.peer), 0);
  assert.is(await verify(dir, one.to, one.to, ...client, '-verify_hostname', one.from.peer), 0);
  assert.is.not(
    await verify(dir, one.from, one.from, ...client),
    0,
    'the server certificate is not valid for a client',
  );
  assert.is.not(await verify(dir, one.to, one.to, ...server), 0, 'the client certificate is not valid for a server');
  assert.is.not(
    await verify(dir, one.from, one.from, '-verify_hostname', one.from.peer),
    0,
    'the name of the other side is not valid',
  );
  assert.is.not(await verify(dir, one.from, other.from, ...server), 0, 'the CA of another stream does not accept it');
  assert.is.not(await verify(dir, one.to, other.to, ...client), 0);
});

s('the validity covers the stream and a difference of the clocks', async ({ dir, one }) => {
  const at = (ms: number): string[] => ['-attime', String(Math.floor((Date.now() + ms) / 1000))];
  for (const ms of [-5 * 60_000, 0, HOUR]) assert.is(await verify(dir, one.from, one.from, ...at(ms)), 0, `${ms}`);
  for (const ms of [-HOUR, 2 * HOUR]) assert.is.not(await verify(dir, one.from, one.from, ...at(ms)), 0, `${ms}`);
  const late = makeCredentials(new Date('2051-01-01T00:00:00Z'));
  assert.is(await verify(dir, late.from, late.from), 0);
  assert.is(new Date(new X509Certificate(late.from.certificate).validTo).getUTCFullYear(), 2051);
});

s('two streams share no serial number and no key', ({ one, other }) => {
  const serials = [one, other].flatMap(({ from, to }) =>
    [from.certificate, from.ca, to.certificate].map((pem) => new X509Certificate(pem).serialNumber),
  );
  assert.is(new Set(serials).size, 6);
  assert.is(new Set([one, other].flatMap(({ from, to }) => [from.key, to.key])).size, 4);
  const { from, to } = one;
  assert.ok(new X509Certificate(from.ca).ca);
  assert.not.ok(new X509Certificate(to.certificate).ca, 'the certificate of a side is not a CA');
  assert.is(from.ca, to.ca);
});

/** Opens a connection with mutual TLS 1.3. @returns The protocol and the data that the client receives, or an error code. */
async function connects(server: StreamTls, client: StreamTls): Promise<string> {
  const material = ({ certificate, key, ca }: StreamTls) => ({
    cert: certificate,
    key,
    ca,
    minVersion: 'TLSv1.3' as const,
  });
  const listener = createServer({ ...material(server), requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.end('hello');
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  const socket: TLSSocket = connect({ ...material(client), host: '127.0.0.1', port, servername: client.peer });
  try {
    // A server that rejects a certificate can close the connection without an error.
    const closed = once(socket, 'close').then(() => []);
    const [data] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer?];
    return `${socket.getProtocol() ?? ''} ${data?.toString() ?? 'closed'}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    socket.destroy();
    listener.close();
  }
}

s('the two sides of a stream accept only each other', async ({ one, other }) => {
  assert.is(await connects(one.from, one.to), 'TLSv1.3 hello');
  assert.is.not(await connects(one.from, other.to), 'TLSv1.3 hello');
  assert.is.not(await connects(other.from, one.to), 'TLSv1.3 hello');
  assert.is.not(await connects(one.to, one.from), 'TLSv1.3 hello', 'the sides cannot exchange their roles');
  assert.is.not(
    await connects(one.from, { ...one.to, certificate: one.from.certificate, key: one.from.key }),
    'TLSv1.3 hello',
  );
});

s.run();
