import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '@scistream/core';
import { pluginContract } from '@scistream/core/testing';
import plugin, { JanusOptions, JanusRuntime } from '@scistream/plugin-janus';
import { fingerprintOf, makeCertificate } from './emulator/certificate.js';
import { splitLikeShell } from './emulator/surface.js';
import { expectFailure } from './support.js';

const s = suite('janus, without containers');

pluginContract({
  name: 'janus',
  test: (name, run) => void s(name, run),
  plugin,
  packageJson: import.meta.resolve('@scistream/plugin-janus/package.json'),
});

const NODES = [{ name: 'n1', wan: '203.0.113.10', lan: '10.0.1.254' }];
const OPTIONS = { url: 'https://janus.example:5000', nodes: NODES };

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

/** A controller that gives these answers in order, and then no answer. */
async function scripted(
  answers: readonly (readonly [number, string])[],
  use: (runtime: JanusRuntime, asked: readonly Asked[]) => Promise<void>,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const pair = await makeCertificate();
  const asked: Asked[] = [];
  const left = [...answers];
  const server = createServer(pair, (request, response) => {
    void text(request).then((body) => {
      const { method = '', url = '', headers } = request;
      asked.push({ method, url, authorization: headers.authorization, body });
      const [status, answer] = left.shift() ?? [];
      if (status !== undefined) response.writeHead(status).end(answer);
    });
  });
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const how = { fingerprint: fingerprintOf(pair), backOff: 1, timeout: 5_000 };
  const runtime = new JanusRuntime(JanusOptions.parse({ url, nodes: NODES, ...how, ...changes }), silentLogger);
  try {
    await use(runtime, asked);
  } finally {
    await runtime.close();
    server.closeAllConnections();
    server.close();
  }
}

s('options have defaults, a base path and a normalized fingerprint', () => {
  const options = JanusOptions.parse({ ...OPTIONS, fingerprint: `sha256:${'AB:'.repeat(31)}CD` });
  assert.is(options.url, 'https://janus.example:5000/api/janus/controller');
  assert.is(options.fingerprint, `sha256:${'ab'.repeat(31)}cd`);
  assert.equal(options.profile, { mgmt_net: 'host' });
  assert.is(JanusOptions.parse({ ...OPTIONS, url: 'https://gw/janus/' }).url, 'https://gw/janus');
});

for (const [what, changes] of Object.entries({
  'HTTP without TLS': { url: 'http://janus.example:5000' },
  'a password in the URL': { url: 'https://admin:admin@janus.example:5000' },
  'a CA and a fingerprint': { ca: 'ca.crt', fingerprint: `sha256:${'00'.repeat(32)}` },
  'a password in the configuration': { auth: { user: 'admin', password: 'admin' } },
  'a token and a password': { auth: { tokenFile: 't', user: 'admin', passwordFile: 'p' } },
  'no node': { nodes: [] },
  'a duplicate node': { nodes: [...NODES, ...NODES] },
  'a wildcard address': { nodes: [{ name: 'n1', wan: '0.0.0.0', lan: '10.0.1.254' }] },
  'a container network': { profile: { mgmt_net: 'bridge' } },
  'an unknown key': { verify: false },
})) {
  s(`options with ${what} are rejected`, () =>
    assert.is(JanusOptions.safeParse({ ...OPTIONS, ...changes }).success, false),
  );
}

s('a request has the base path, the user on whose behalf it is sent, and credentials only in a header', async () => {
  process.env.SCISTREAM_TEST_JANUS = 'secret';
  const changes = { auth: { tokenEnv: 'SCISTREAM_TEST_JANUS' }, user: 'alice', group: 'beamline' };
  await scripted(
    [[200, '[]']],
    async (runtime, asked) => {
      await runtime.ping();
      const url = '/api/janus/controller/nodes?user=alice&group=beamline';
      assert.equal(asked, [{ method: 'GET', url, authorization: 'Bearer secret', body: '' }]);
    },
    changes,
  ).finally(() => delete process.env.SCISTREAM_TEST_JANUS);
});

s('5xx is retried as often as the options say', () =>
  scripted(
    [
      [503, '{}'],
      [500, 'oops'],
      [200, '[]'],
    ],
    async (runtime, asked) => {
      await runtime.ping();
      assert.is(asked.length, 3);
    },
  ),
);

s('persistent 5xx is an error with the text of Janus', () =>
  scripted(
    Array.from({ length: 3 }, () => [500, '{"message":"backend\\n is away"}'] as const),
    async (runtime, asked) => {
      await expectFailure('SCI_RUNTIME_FAILED', /list the nodes: .*500 \(backend is away\)/, runtime.ping());
      assert.is(asked.length, 3);
    },
    { retries: 2 },
  ),
);

s('401, invalid JSON and other shapes fail without a retry', async () => {
  const cases = [
    [401, '{"error":"Unauthorized"}', 'SCI_RUNTIME_UNREACHABLE', /credentials \(401\)/],
    [200, '<html>', 'SCI_RUNTIME_FAILED', /not JSON: "<html>"/],
    [200, '{"nodes":[]}', 'SCI_RUNTIME_FAILED', /not match the Janus API/],
    [200, '[{"name":7}]', 'SCI_RUNTIME_FAILED', /0\.name/],
    [302, '', 'SCI_RUNTIME_FAILED', /status 302/],
  ] as const;
  for (const [status, answer, code, words] of cases) {
    await scripted([[status, answer]], async (runtime, asked) => {
      await expectFailure(code, words, runtime.ping());
      assert.is(asked.length, 1);
    });
  }
});

s('a request without an answer fails at its deadline', () =>
  scripted([], (runtime) => expectFailure('SCI_RUNTIME_UNREACHABLE', /no answer in 100 ms/, runtime.ping()), {
    timeout: 100,
    retries: 1,
  }),
);

s('sessions of others may have any shape', () => {
  const strange = [{}, null, 7, { request: 'x' }, { id: 1, request: [{ profile: 'default' }], state: 'NEW' }];
  return scripted([[200, JSON.stringify(strange)]], async (runtime) => assert.equal(await runtime.list({}), []));
});

s('invalid files are rejected before any request', () =>
  scripted([], async (runtime, asked) => {
    const spec = {
      name: 'scistream-x-0',
      image: 'i:1',
      executable: 'sh',
      args: [],
      labels: {},
      sockets: [],
      stopSignal: 'SIGTERM',
      listeners: [],
      transport: 'tcp',
      node: 'n1',
    } as const;
    await expectFailure('SCI_RUNTIME_FAILED', /not a valid name/, runtime.create({ ...spec, files: { '../x': '' } }));
    const files = { big: 'x'.repeat(1024 * 1024) };
    await expectFailure('SCI_RUNTIME_FAILED', /too many for Janus/, runtime.create({ ...spec, files }));
    assert.equal(asked, []);
  }),
);

s('the emulator splits arguments as a shell does', () => {
  assert.equal(splitLikeShell(`-c 'a "b" \`c\`' "d \\" e" f\\ g  h'i'`), ['-c', 'a "b" `c`', 'd " e', 'f g', 'hi']);
});

s.run();
