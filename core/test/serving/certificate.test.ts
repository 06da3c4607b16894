/** The certificate of a control server: self-signed or configured. */
import 'reflect-metadata';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { container } from 'tsyringe';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, silentLogger, type Address } from '@scistream/core';
import { loadConfig } from '@scistream/core/config';
import { ControlServer, registerServer, type ServerListening } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';

const s = suite('certificate');

/** Starts a control server in a state directory and stops it. @returns Its address, scheme and fingerprint. */
async function start(
  state: string,
  {
    wan = '127.0.0.1',
    lan = '127.0.0.1',
    ...more
  }: {
    readonly wan?: string;
    readonly lan?: string;
    readonly listen?: Address;
    readonly tls?: { cert: string; key: string };
    readonly insecure?: boolean;
  } = {},
): Promise<ServerListening> {
  const { config } = await loadConfig('s2cs', { env: {}, overrides: { state } });
  const own = container.createChildContainer();
  const gateways = config.gateways.map((gateway) => ({ ...gateway, wan, lan }));
  const merged = { ...config, gateways, listen: { host: '127.0.0.1', port: 0 }, ...more };
  registerServer(own, { config: merged, logger: silentLogger, plugins: [] });
  const server = own.resolve(ControlServer);
  const listening = await server.start();
  await server.stop();
  return listening;
}

async function read(state: string): Promise<{ certificate: X509Certificate; pem: string; key: string }> {
  const pem = await readFile(join(state, 'tls', 'server.crt'), 'utf8');
  return { certificate: new X509Certificate(pem), pem, key: await readFile(join(state, 'tls', 'server.key'), 'utf8') };
}

s('the self-signed certificate names the host and the WAN address, and its fingerprint is reported', async () => {
  await using directory = await temporaryDirectory();
  const { fingerprint, scheme, address } = await start(directory.path, { wan: '203.0.113.10', lan: '10.0.1.254' });
  const { certificate, key } = await read(directory.path);
  assert.is(scheme, 'https');
  assert.match(address, /^127\.0\.0\.1:[1-9]\d*$/);
  assert.is(fingerprint, `sha256:${createHash('sha256').update(certificate.raw).digest('hex')}`);
  for (const ip of ['127.0.0.1', '::1', '203.0.113.10']) assert.ok(certificate.checkIP(ip), ip);
  const local = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const inner = local.filter(({ internal }) => !internal).map((each) => each.address);
  for (const ip of ['10.0.1.254', ...inner]) assert.is(certificate.checkIP(ip), undefined, ip);
  for (const name of ['localhost', hostname()]) assert.ok(certificate.checkHost(name), name);
  assert.is(certificate.checkIP('203.0.113.99'), undefined);
  assert.is(certificate.checkHost('example.org'), undefined);
  assert.ok(certificate.checkPrivateKey(createPrivateKey(key)));
  assert.ok(certificate.verify(certificate.publicKey), 'self-signed');
  assert.ok(certificate.ca, 'it is a CA, for clients that trust it as a root');
  const years = (Date.parse(certificate.validTo) - Date.now()) / (365 * 86_400_000);
  assert.ok(years > 9.9 && years < 10.1, `valid for ${years} years`);
  assert.ok(Date.parse(certificate.validFrom) < Date.now() - 3_600_000, 'a clock that is slightly behind accepts it');
});

s('the listen address is included even if no interface has it', async () => {
  await using directory = await temporaryDirectory();
  await start(directory.path, { listen: { host: '127.0.5.9', port: 0 } });
  assert.ok((await read(directory.path)).certificate.checkIP('127.0.5.9'));
});

s('only the user can read the key', async () => {
  await using directory = await temporaryDirectory();
  await start(directory.path);
  const tls = join(directory.path, 'tls');
  const modes = await Promise.all(
    ['', 'server.key', 'server.crt'].map(async (name) => (await stat(join(tls, name))).mode),
  );
  assert.equal(
    modes.map((mode) => mode & 0o777),
    [0o700, 0o600, 0o600],
  );
  assert.equal((await readdir(tls)).sort(), ['server.crt', 'server.key'], 'no temporary file is left');
});

s('the certificate is created once, and replaced when a file is missing', async () => {
  await using directory = await temporaryDirectory();
  const first = await start(directory.path);
  const { pem, key } = await read(directory.path);
  assert.is((await start(directory.path)).fingerprint, first.fingerprint);
  assert.equal([(await read(directory.path)).pem, (await read(directory.path)).key], [pem, key]);
  for (const file of ['server.crt', 'server.key']) {
    const before = (await read(directory.path)).pem;
    await rm(join(directory.path, 'tls', file));
    await start(directory.path);
    const now = await read(directory.path);
    assert.is.not(now.pem, before);
    assert.ok(now.certificate.checkPrivateKey(createPrivateKey(now.key)), 'key and certificate match');
  }
  await using other = await temporaryDirectory();
  assert.is.not((await start(other.path)).fingerprint, first.fingerprint);
});

s('with a configured certificate, none is created', async () => {
  await using maker = await temporaryDirectory();
  const { fingerprint } = await start(maker.path);
  const tls = { cert: join(maker.path, 'tls', 'server.crt'), key: join(maker.path, 'tls', 'server.key') };
  await using directory = await temporaryDirectory();
  assert.is((await start(directory.path, { tls })).fingerprint, fingerprint);
  assert.not((await readdir(directory.path)).includes('tls'));
});

s('an error of a configured certificate names the file, and never shows the key', async () => {
  await using maker = await temporaryDirectory();
  await start(maker.path);
  const good = { cert: join(maker.path, 'tls', 'server.crt'), key: join(maker.path, 'tls', 'server.key') };
  await using other = await temporaryDirectory();
  await start(other.path);
  await using directory = await temporaryDirectory();
  const noPem = join(maker.path, 'no.pem');
  await writeFile(noPem, 'SECRET-TEXT');
  for (const [tls, says] of [
    [{ ...good, cert: '/nonexistent.crt' }, /tls\.cert.*nonexistent\.crt/],
    [{ ...good, key: '/nonexistent.key' }, /tls\.key.*nonexistent\.key/],
    [{ ...good, cert: noPem }, /tls\.cert.*no\.pem/],
    [{ ...good, key: noPem }, /tls\.key.*no\.pem/],
    [{ ...good, key: join(other.path, 'tls', 'server.key') }, /tls\.key/],
  ] as const) {
    const error: unknown = await start(directory.path, { tls }).catch((thrown: unknown) => thrown);
    assert.ok(SciStreamError.is(error), `${JSON.stringify(tls)}: ${String(error)}`);
    assert.is(error.code, 'SCI_CONFIG_INVALID');
    assert.match(error.message, says);
    assert.not.match(JSON.stringify(error), /SECRET|PRIVATE/);
  }
});

s('plain text requires insecure', async () => {
  await using directory = await temporaryDirectory();
  const { scheme, fingerprint } = await start(directory.path, { insecure: true });
  assert.equal([scheme, fingerprint], ['http', undefined]);
});

s.run();
