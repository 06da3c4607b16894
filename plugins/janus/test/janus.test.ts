import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, silentLogger, type ErrorCode } from '@scistream/core';
import { pluginContract } from '@scistream/core/testing';
import plugin, { JanusOptions, JanusRuntime } from '@scistream/plugin-janus';
import { fingerprintOf, makeCertificate } from './emulator/certificate.js';
import { splitLikeShell } from './emulator/surface.js';

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

/** A controller that answers what it is told to, in this order; after that nothing at all. */
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

async function expectFailure(code: ErrorCode, words: RegExp, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
  assert.ok(SciStreamError.is(error), String(error));
  assert.is(error.code, code, error.message);
  assert.match(error.message, words);
}

s('options have defaults, and a base path and a fingerprint in one form', () => {
  const options = JanusOptions.parse({ ...OPTIONS, fingerprint: `sha256:${'AB:'.repeat(31)}CD` });
  assert.is(options.url, 'https://janus.example:5000/api/janus/controller');
  assert.is(options.fingerprint, `sha256:${'ab'.repeat(31)}cd`);
  assert.equal(options.profile, { mgmt_net: 'host' });
  assert.is(JanusOptions.parse({ ...OPTIONS, url: 'https://gw/janus/' }).url, 'https://gw/janus');
});

for (const [what, changes] of Object.entries({
  'HTTP without TLS': { url: 'http://janus.example:5000' },
  'a password in the URL': { url: 'https://admin:admin@janus.example:5000' },
  'two kinds of trust': { ca: 'ca.crt', fingerprint: `sha256:${'00'.repeat(32)}` },
  'a password in the configuration': { auth: { user: 'admin', password: 'admin' } },
  'a token and a password': { auth: { tokenFile: 't', user: 'admin', passwordFile: 'p' } },
  'no node': { nodes: [] },
  'a node twice': { nodes: [...NODES, ...NODES] },
  'a node that listens everywhere': { nodes: [{ name: 'n1', wan: '0.0.0.0', lan: '10.0.1.254' }] },
  'a network that is not of the node': { profile: { mgmt_net: 'bridge' } },
  'an unknown key': { verify: false },
})) {
  s(`options with ${what} are refused`, () =>
    assert.is(JanusOptions.safeParse({ ...OPTIONS, ...changes }).success, false),
  );
}

s('a request goes to the base path, for the user it is made for, with credentials in a header only', async () => {
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

s('5xx is tried again as often as the options say', () =>
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

s('5xx that stays is an error with what Janus says', () =>
  scripted(
    Array.from({ length: 3 }, () => [500, '{"message":"backend\\n is away"}'] as const),
    async (runtime, asked) => {
      await expectFailure('SCI_RUNTIME_FAILED', /list the nodes: .*500 \(backend is away\)/, runtime.ping());
      assert.is(asked.length, 3);
    },
    { retries: 2 },
  ),
);

s('401, nonsense and other shapes are errors at once', async () => {
  const cases = [
    [401, '{"error":"Unauthorized"}', 'SCI_RUNTIME_UNREACHABLE', /credentials \(401\)/],
    [200, '<html>', 'SCI_RUNTIME_FAILED', /not JSON: "<html>"/],
    [200, '{"nodes":[]}', 'SCI_RUNTIME_FAILED', /not what it should be/],
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

s('silence is an error after the deadline', () =>
  scripted([], (runtime) => expectFailure('SCI_RUNTIME_UNREACHABLE', /no answer in 100 ms/, runtime.ping()), {
    timeout: 100,
    retries: 1,
  }),
);

s('sessions of others may look like anything', () => {
  const strange = [{}, null, 7, { request: 'x' }, { id: 1, request: [{ profile: 'default' }], state: 'NEW' }];
  return scripted([[200, JSON.stringify(strange)]], async (runtime) => assert.equal(await runtime.list({}), []));
});

s('files that cannot be are refused before anything is asked', () =>
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
    await expectFailure('SCI_RUNTIME_FAILED', /no name for a file/, runtime.create({ ...spec, files: { '../x': '' } }));
    const files = { big: 'x'.repeat(1024 * 1024) };
    await expectFailure('SCI_RUNTIME_FAILED', /too many for Janus/, runtime.create({ ...spec, files }));
    assert.equal(asked, []);
  }),
);

s('the emulator splits arguments as a shell does', () => {
  assert.equal(splitLikeShell(`-c 'a "b" \`c\`' "d \\" e" f\\ g  h'i'`), ['-c', 'a "b" `c`', 'd " e', 'f g', 'hi']);
});

s.run();
