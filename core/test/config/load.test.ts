import { chdir, cwd } from 'node:process';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configKind, loadConfig, loadStream, toJsonSchema } from '@scistream/core/config';
import { expectCode, temporaryDirectory } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { failure, load } from '../support/config.js';

const s = suite('config');

s('fills in the parsed defaults of a control server', async () => {
  const { config } = await load('s2cs', 'facility: aps');
  assert.is(config.facility, 'aps');
  assert.equal(config.listen, { host: '127.0.0.1', port: 5000 });
  assert.is(config.insecure, false);
  assert.is(config.tls, undefined);
  assert.equal(config.auth, []);
  assert.equal(config.limits, {
    streams: 1000,
    waiting: 1000,
    connections: 1024,
    helloTimeoutMs: 180_000,
    lifetimeMs: 86_400_000,
    waitingPerIdentity: 250,
    streamsPerIdentity: 100,
    connectionsPerIdentity: undefined,
    streamsPerMinute: 300,
    updatesPerMinute: 600,
    endedAgeMs: 7 * 86_400_000,
    endedStreams: 1000,
    endedBytes: 16_000_000,
    endedBytesPerIdentity: 4_000_000,
    watchesPerIdentity: 100,
    updatesPerSecond: 10,
    requestsPerSecond: 1000,
    strangerRequestsPerSecond: 50,
    clients: 2000,
    clientsPerAddress: 500,
    strangerTimeoutMs: 30_000,
  });
  assert.is(config.encryption, 'required');
  assert.is(config.gateways.length, 1);
  const [gateway] = config.gateways;
  assert.equal(gateway && { ...gateway, name: '' }, {
    name: '',
    s2ds: 'embedded',
    wan: '127.0.0.1',
    lan: '127.0.0.1',
    ports: { first: 5100, last: 5200 },
    proxy: 'relay',
    runtime: 'process',
  });
});

s('parses addresses, rates, durations and paths relative to the file', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 's2cs.conf');
  await writeFile(
    file,
    `facility: aps
listen: "[::1]:7000"
tls: { cert: server.crt, key: /keys/server.key }
state: state
auth: [{ use: token, tokens: [{ subject: a }] }]
limits: { helloTimeout: 5s, lifetime: 20d }
gateways: [{ name: dtn1, wan: 203.0.113.10, lan: "2001:DB8::1", ports: 6000-6001, capacity: 100Gbps }]
proxies: { haproxy: { processes: 2 } }
`,
  );
  const { config } = await loadConfig('s2cs', { file, env: {} });
  assert.equal(config.listen, { host: '::1', port: 7000 });
  assert.equal(config.tls, { cert: join(directory.path, 'server.crt'), key: '/keys/server.key' });
  assert.is(config.state, join(directory.path, 'state'));
  assert.equal(config.auth, [{ use: 'token', tokens: [{ subject: 'a' }] }]);
  assert.is(config.limits.helloTimeoutMs, 5000);
  assert.is(config.limits.lifetimeMs, 20 * 86_400_000);
  assert.is(config.gateways[0]?.capacity, 100e9);
  assert.is(config.gateways[0]?.lan, '2001:db8::1');
  assert.equal(config.proxies, { haproxy: { processes: 2 } });
});

s('parses the configuration of a user', async () => {
  const hex = 'ab'.repeat(32);
  const { config } = await load(
    's2uc',
    `facilities:
  aps: { s2cs: s2cs.aps.example:5000, ca: /etc/aps.crt, token: { env: APS_TOKEN } }
  alcf: { s2cs: gw.alcf.example:5000, fingerprint: "sha256:${hex.toUpperCase().replace(/(..)(?=.)/g, '$1:')}" }
streams:
  tomo: { from: aps, to: alcf, producer: [10.0.1.5:5001, 10.0.1.5:5002], connections: 4, rate: 20Gbps, lifetime: 8h }
  short: { producer: "10.0.1.5:5001, [::1]:5002" }
`,
  );
  assert.equal(config.facilities.aps?.s2cs, { host: 's2cs.aps.example', port: 5000 });
  assert.equal(config.facilities.aps?.token, { env: 'APS_TOKEN' });
  assert.is(config.facilities.alcf?.fingerprint, `sha256:${hex}`);
  const { producer, ...tomo } = config.streams.tomo ?? {};
  assert.is(producer?.length, 2);
  assert.equal(tomo, { from: 'aps', to: 'alcf', connections: 4, bitsPerSecond: 20e9, lifetimeMs: 28_800_000 });
  assert.equal(config.streams.short?.producer, [
    { host: '10.0.1.5', port: 5001 },
    { host: '::1', port: 5002 },
  ]);
});

s('parses the configuration of a data server', async () => {
  const { config } = await load('s2ds', 'name: dtn1\nlisten: unix:/run/a.sock\nwan: 203.0.113.10\nports: 5100');
  assert.is(config.listen, 'unix:/run/a.sock');
  assert.equal(config.ports, { first: 5100, last: 5100 });
  assert.is((await failure(load('s2ds', 'name: dtn1\nlisten: dtn1:5001'))).code, 'SCI_CONFIG_INVALID');
});

s('flags override the environment, the file and defaults, and each value has its origin', async () => {
  const env = { SCISTREAM_WAN: '10.0.0.2', SCISTREAM_LAN: '10.0.0.2', SCISTREAM_INSECURE: 'true', SCISTREAM_PORTS: '' };
  const { config, values } = await load('s2cs', 'facility: aps\ngateways: [{ wan: 10.0.0.1, lan: 10.0.0.1 }]', {
    env,
    overrides: { lan: '10.0.0.3', proxy: undefined },
  });
  const [gateway] = config.gateways;
  assert.equal([gateway?.wan, gateway?.lan, config.insecure], ['10.0.0.2', '10.0.0.3', true]);
  const origin = (key: string): unknown[] => {
    const found = values.find((value) => value.key === key);
    return [found?.value, found?.origin, found?.source.replace(/.*\//, '')];
  };
  assert.equal(origin('facility'), ['aps', 'file', 'some.conf']);
  assert.equal(origin('gateways.0.wan'), ['10.0.0.2', 'environment', 'SCISTREAM_WAN']);
  assert.equal(origin('gateways.0.lan'), ['10.0.0.3', 'flag', '--lan']);
  assert.equal(origin('insecure'), [true, 'environment', 'SCISTREAM_INSECURE']);
  assert.equal(origin('gateways.0.ports'), ['5100-5200', 'default', '']);
  assert.equal(origin('limits.helloTimeout'), ['180s', 'default', '']);
});

s('names the key of an invalid flag or variable', async () => {
  assert.is((await failure(loadConfig('s2cs', { env: { SCISTREAM_INSECURE: 'maybe' } }))).code, 'SCI_CONFIG_INVALID');
  const error = await failure(load('s2cs', 'facility: aps', { overrides: { ports: '9-1' } }));
  assert.is(error.code, 'SCI_PORT_RANGE_INVALID');
  assert.match(error.message, 'gateways.0.ports');
  assert.equal(error.suggestions, ['Write 1-9.']);
});

s('a given file must exist', async () => {
  const error = await failure(loadConfig('s2cs', { file: '/nonexistent/s2cs.conf', env: {} }));
  assert.is(error.code, 'SCI_CONFIG_NOT_FOUND');
  assert.match(error.message, '/nonexistent/s2cs.conf');
});

s('never runs code, neither a given file nor files of the working directory', async () => {
  await using directory = await temporaryDirectory();
  const evil = 'globalThis.scistreamTestRan = true; module.exports = {};';
  await mkdir(join(directory.path, '.config'));
  await writeFile(join(directory.path, '.config', 'config.js'), evil);
  await writeFile(join(directory.path, 'c.js'), evil);
  await writeFile(join(directory.path, 'imports.conf'), '$import: ./c.js\nfacility: aps\n');
  const before = cwd();
  chdir(directory.path);
  try {
    await loadConfig('s2uc', { env: { SCISTREAM_CONFIG_DIR: directory.path } });
    await failure(loadConfig('s2cs', { file: 'c.js', env: {} }));
    await failure(loadConfig('s2cs', { file: 'imports.conf', env: {} }));
  } finally {
    chdir(before);
  }
  assert.is(Reflect.get(globalThis, 'scistreamTestRan'), undefined);
});

s('searches the working directory, then the configuration directory of the user, for its kind', async () => {
  await using work = await temporaryDirectory();
  await using own = await temporaryDirectory();
  const env = { SCISTREAM_CONFIG_DIR: own.path };
  await writeFile(join(own.path, 'scistream.config.json'), '{"facilities": {"aps": {"s2cs": "own:1"}}}');
  const before = cwd();
  chdir(work.path);
  try {
    const host = async (): Promise<unknown> => (await loadConfig('s2uc', { env })).config.facilities.aps?.s2cs.host;
    assert.is(await host(), 'own');
    await writeFile('scistream.config.yaml', 'facility: aps\n', { mode: 0o600 });
    assert.is(await host(), 'own');
    assert.is((await loadConfig('s2cs', { env })).config.facility, 'aps');
    await writeFile('scistream.config.yaml', 'facilities: { aps: { s2cs: "here:1" } }\n');
    assert.is(await host(), 'here');
    assert.is((await loadConfig('s2cs', { env })).file, undefined);
  } finally {
    chdir(before);
  }
});

s(
  'takes no configuration from the working directory that somebody else can have written, unless it is named',
  async () => {
    await using work = await temporaryDirectory();
    const file = join(work.path, 'scistream.config.yaml');
    await writeFile(file, 'facilities: { aps: { s2cs: "theirs:1", token: { env: GITHUB_TOKEN } } }\n', { mode: 0o600 });
    const mustRefuse = async (named: 'refused' | 'used'): Promise<void> => {
      const { code, message, suggestions } = await failure(loadConfig('s2uc', { env }));
      assert.equal([code, message.includes(file)], ['SCI_CONFIG_UNTRUSTED', true]);
      assert.match(suggestions.join('\n'), `--config ${file}`);
      if (named === 'refused') await expectCode('SCI_FILE_UNTRUSTED', loadConfig('s2uc', { env, file }));
      else assert.is((await loadConfig('s2uc', { env, file })).config.facilities.aps?.s2cs.host, 'theirs');
      assert.is((await loadConfig('s2cs', { env })).file, undefined, 'nobody asked for a file of this kind');
    };
    const env = { SCISTREAM_CONFIG_DIR: join(work.path, 'nothing') };
    const before = cwd();
    chdir(work.path);
    try {
      for (const mode of [0o602, 0o666]) {
        await chmod(file, mode);
        await mustRefuse('refused');
      }
      await chmod(file, 0o644);
      await chmod(work.path, 0o777);
      await mustRefuse('refused');
      await chmod(work.path, 0o1777);
      assert.is((await loadConfig('s2uc', { env })).file, file, 'as /tmp is, where nobody replaces files of others');
      await chmod(work.path, 0o700);
      await chmod(file, 0o664);
      if (process.getuid?.() === process.getgid?.()) {
        assert.is((await loadConfig('s2uc', { env })).file, file, 'the group with only this user');
      }
      if (process.getuid?.() !== 0) return;
      await chown(file, 0, 12_345);
      await mustRefuse('refused');
      await chmod(file, 0o644);
      await chown(file, 12_345, 12_345);
      await mustRefuse('used');
      await chown(file, 0, 0);
      await chown(work.path, 12_345, 12_345);
      await mustRefuse('used');
      await chown(work.path, 0, 0);
    } finally {
      chdir(before);
    }
  },
);

s('reads a stream document from a separate file', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'tomo.yaml');
  await writeFile(file, 'from: aps\nto: alcf\nproducer: 10.0.1.5:5001\nwait: 10s\n');
  assert.equal(await loadStream(file), {
    from: 'aps',
    to: 'alcf',
    producer: [{ host: '10.0.1.5', port: 5001 }],
    waitMs: 10_000,
  });
  await writeFile(file, 'form: aps\n');
  assert.match((await failure(loadStream(file))).message, /form is not a known key, did you mean from\?/);
});

s('detects the kind of a document', () => {
  assert.is(configKind({ streams: {} }), 's2uc');
  assert.is(configKind({ gateways: [] }), 's2cs');
  assert.is(configKind({ listen: 'unix:/a' }), 's2ds');
  assert.is(configKind({ name: 'dtn1', wan: '10.0.0.1' }), 's2ds');
  assert.is(configKind({ proxies: {} }), undefined);
  assert.is(configKind([]), undefined);
});

s('publishes a JSON Schema of the written form', () => {
  const schema = JSON.stringify(toJsonSchema('s2cs'));
  for (const part of ['"helloTimeout"', '"default":"180s"', '"additionalProperties":false']) assert.match(schema, part);
  assert.not.match(schema, 'helloTimeoutMs');
});

s.run();
