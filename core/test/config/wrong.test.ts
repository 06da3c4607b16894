import type { ConfigKind } from '@scistream/core/config';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { failure, load } from '../support/config.js';

const s = suite('invalid config');

const wrong: readonly [what: string, kind: ConfigKind, content: string, code: string, text: RegExp][] = [
  ['an unknown key', 's2cs', 'facilty: a', 'SCI_CONFIG_INVALID', /facilty is not a known key, did you mean facility\?/],
  ['an unknown nested key', 's2cs', 'limits: { stream: 1 }', 'SCI_CONFIG_INVALID', /limits\.stream .* mean streams\?/],
  [
    'an unknown key in a list',
    's2cs',
    'gateways: [{ wam: 1 }]',
    'SCI_CONFIG_INVALID',
    /gateways\.0\.wam .* mean wan\?/,
  ],
  [
    'an unknown key of a stream',
    's2uc',
    'streams: { t: { rte: 1 } }',
    'SCI_CONFIG_INVALID',
    /streams\.t\.rte .* rate\?/,
  ],
  [
    'two gateways with the same name',
    's2cs',
    'gateways: [{ name: a }, { name: a, s2ds: unix:/s }]',
    'SCI_CONFIG_INVALID',
    /gateways\.1\.name is "a", which another gateway/,
  ],
  [
    'two gateways with the same data server',
    's2cs',
    'gateways: [{ name: a, s2ds: unix:/s }, { name: b, s2ds: unix:/s }]',
    'SCI_CONFIG_INVALID',
    /gateways\.1\.s2ds is "unix:\/s", which another gateway/,
  ],
  [
    'two embedded gateways',
    's2cs',
    'gateways: [{ name: a }, { name: b }]',
    'SCI_CONFIG_INVALID',
    /gateways\.1\.s2ds is "embedded", which another gateway/,
  ],
  [
    'a wildcard address',
    's2cs',
    'gateways: [{ wan: 0.0.0.0 }]',
    'SCI_CONFIG_INVALID',
    /gateways\.0\.wan: "0\.0\.0\.0"/,
  ],
  ['a host name as gateway address', 's2ds', 'lan: dtn1', 'SCI_CONFIG_INVALID', /lan: "dtn1" is not an IP address/],
  ['an address without port', 's2cs', 'listen: 127.0.0.1', 'SCI_ADDRESS_INVALID', /listen: .*"127\.0\.0\.1"/],
  ['a duration without unit', 's2cs', 'limits: { lifetime: 5 }', 'SCI_DURATION_INVALID', /limits\.lifetime: "5"/],
  ['a lifetime above 20 days', 's2cs', 'limits: { lifetime: 21d }', 'SCI_CONFIG_INVALID', /limits\.lifetime: "21d"/],
  ['an invalid rate', 's2uc', 'streams: { t: { rate: fast } }', 'SCI_RATE_INVALID', /streams\.t\.rate: "fast"/],
  ['a key without certificate', 's2cs', 'tls: { key: k }', 'SCI_CONFIG_INVALID', /tls\.cert is missing/],
  ['a number where a list should be', 's2cs', 'auth: 5', 'SCI_CONFIG_INVALID', /auth: expected array, received number/],
  [
    'a token from two places',
    's2uc',
    'facilities: { a: { s2cs: "a:1", token: { env: A, file: b } } }',
    'SCI_CONFIG_INVALID',
    /facilities\.a\.token needs either/,
  ],
  [
    'an invalid fingerprint',
    's2uc',
    'facilities: { a: { s2cs: "a:1", fingerprint: "sha256:12" } }',
    'SCI_CONFIG_INVALID',
    /fingerprint: "sha256:12"/,
  ],
  [
    'a bad producer in a list',
    's2uc',
    'streams: { t: { producer: ["a:1", "b"] } }',
    'SCI_ADDRESS_INVALID',
    /streams\.t\.producer\.1: .*"b"/,
  ],
  [
    'a bad producer in a text',
    's2uc',
    'streams: { t: { producer: "a:1,b" } }',
    'SCI_ADDRESS_INVALID',
    /streams\.t\.producer: .*"b"/,
  ],
  ['a list instead of keys', 's2cs', '- a', 'SCI_CONFIG_INVALID', /instead of keys and values/],
  ['a configuration of another kind', 's2cs', 'facilities: {}', 'SCI_CONFIG_INVALID', /is a configuration of s2uc/],
  ['an empty file', 's2cs', '  \n', 'SCI_CONFIG_EMPTY', /is empty/],
  ['a file with only comments', 's2cs', '# later\n', 'SCI_CONFIG_EMPTY', /is empty/],
  ['broken YAML', 's2cs', 'facility: aps\nlimits: { streams: 1\n', 'SCI_CONFIG_SYNTAX', /line [23]: /],
  ['a duplicate key', 's2cs', 'facility: aps\n\nfacility: b\n', 'SCI_CONFIG_SYNTAX', /line 3: /],
  ['an alias within its own anchor', 's2cs', 'plugins: &a [*a]\n', 'SCI_CONFIG_SYNTAX', /circular/],
];
for (const [what, kind, content, code, text] of wrong) {
  s(`rejects ${what}`, async () => {
    const error = await failure(load(kind, content));
    assert.is(error.code, code);
    assert.match(error.message, text);
    assert.match(error.message, 'some.conf');
  });
}

s('reports all problems, one sentence each', async () => {
  const error = await failure(load('s2cs', 'facilty: a\nlisten: b\ngateways: [{ ports: 3-1 }]'));
  assert.is(error.code, 'SCI_CONFIG_INVALID');
  const [head, ...sentences] = error.message.split('\n  ');
  assert.match(head ?? '', '3 problems');
  assert.is(sentences.length, 3);
  for (const key of ['facilty', 'listen', 'gateways.0.ports'])
    assert.ok(sentences.some((line) => line.startsWith(key)));
});

s.run();
