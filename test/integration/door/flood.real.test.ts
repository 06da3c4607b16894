// suite: full
/** A flood of calls by one caller while another caller is served. */
import { createHash } from 'node:crypto';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { RawClient } from '../../support/raw-client.js';
import { TestServer, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('flood of one caller');

const TOKENS = { alice: 'alice-7Jq3-secret', bob: 'bob-9Xw1-secret' };
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  { use: 'token', tokens: Object.entries(TOKENS).map(([subject, token]) => ({ subject, sha256: sha256(token) })) },
];
const JSON_CALL = { 'content-type': 'application/json', 'connect-protocol-version': '1' };
const WAIT_MS = 40_000;

const urlOf = ({ listening }: TestServer): string => `${listening.scheme}://${listening.address}`;

s('10 000 requests by one caller: most are rejected with the time to wait, and another caller is served', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { requestsPerSecond: 20 } });
  const alice = await RawClient.open(urlOf(server));
  const bob = await server.connect(TOKENS.bob);
  const seen = new Map<string, number>();
  const call = async (): Promise<void> => {
    const headers = { ...JSON_CALL, authorization: TOKENS.alice };
    const answer = await alice.call('scistream.v1.Streams/List', headers, '{}');
    const code =
      answer.status === 200
        ? 'served'
        : String(answer.headers['scistream-code'] ?? answer.headers['trailer-scistream-code']);
    if (code === 'SCI_RATE_LIMITED') {
      assert.is(answer.status, 429);
      assert.ok(Number(answer.headers['retry-after']) >= 1, JSON.stringify(answer.headers));
    }
    seen.set(code, (seen.get(code) ?? 0) + 1);
  };
  try {
    for (let i = 0; i < 10_000; i += 250) {
      const flood = Promise.all(Array.from({ length: 250 }, call));
      await bob.streams.list({}, { timeoutMs: WAIT_MS });
      await flood;
    }
    assert.equal([...seen.keys()].sort(), ['SCI_RATE_LIMITED', 'served']);
    assert.ok((seen.get('served') ?? 0) >= 200, 'a burst of ten seconds of requests is allowed');
    assert.ok((seen.get('SCI_RATE_LIMITED') ?? 0) > 0);
    const warnings = server.log.lines.filter(({ message }) => message.startsWith('too many requests'));
    assert.ok(warnings.length >= 1 && warnings.length < 100, `${warnings.length} warnings`);
    assert.is(server.log.lines.filter(({ message }) => message === 'call rejected').length, 0, 'no log line for each');
  } finally {
    alice.close();
  }
  // The same caller is served again after the wait.
  const again = await server.connect(TOKENS.alice);
  await eventually(async () => void (await again.streams.list({})), WAIT_MS);
});

s.run();
