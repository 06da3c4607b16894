/**
 * Configuration files of proxies: input of peers reaches them only after parsing, and changes only values. The number of
 * lines and their words are those of the template.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { createRenderer, type Address, type StreamTls, type ProxyView } from '@scistream/core';
import { parseCredentials, parseUid, parseAddress } from '@scistream/core/internal';
import { testCredentials } from '@scistream/core/testing';
import { HaproxyOptions } from '@scistream/plugin-haproxy';
import { renderConfig as haproxy } from '@scistream/plugin-haproxy/internal';
import { NginxOptions } from '@scistream/plugin-nginx';
import { renderConfig as nginx } from '@scistream/plugin-nginx/internal';
import { StunnelOptions } from '@scistream/plugin-stunnel';
import { renderConfig as stunnel } from '@scistream/plugin-stunnel/internal';
import { templateDirectory } from '@scistream/templates';
import { hostileText, hunt, nearly, refusalOf } from './hunt.js';

const s = hunt('templates');

const { inbound: TLS, other: OTHER } = await testCredentials();
const UID = '6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10';
const RUNTIME = { inheritSockets: false, dial: true, images: false, hostNetwork: true };

/** A peer's description of a stream; most are bad. */
const wishes = fc.record({
  uid: fc.oneof(fc.constant(UID), hostileText([UID])),
  role: fc.constantFrom('inbound', 'outbound'),
  transport: fc.constantFrom('tcp', 'udp'),
  targets: fc.array(
    fc.oneof(fc.constant('10.0.0.1:1'), hostileText(['198.51.100.7:7000', '[2001:db8::5]:1', 'a.b:1'])),
    {
      maxLength: 2,
    },
  ),
  peer: fc.option(fc.oneof(fc.constant(TLS.peer), hostileText([TLS.peer]))),
});

type Wish = typeof wishes extends fc.Arbitrary<infer T> ? T : never;

const listeners = [{ address: { host: '192.0.2.10', port: 5100 } }, { address: { host: '2001:db8::10', port: 5101 } }];

/** The description after the control server's parser; undefined if it is rejected. */
function viewOf({ uid, role, transport, targets, peer }: Wish): ProxyView | undefined {
  const parsed = refusalOf(() => ({
    uid: parseUid(uid),
    targets: targets.map((text) => parseAddress(text)),
    tls: peer === null ? undefined : parseCredentials({ ...TLS, peer }),
  }));
  if ('code' in parsed) return undefined;
  const { tls, ...rest } = parsed.value;
  const own = targets.length === 0 ? listeners.slice(0, 1) : listeners.slice(0, targets.length);
  return { ...rest, role, transport, listeners: own, bitsPerSecond: undefined, ...(tls && { tls }) };
}

/** The same stream with ordinary values. A template must give all streams its structure. */
function plain(view: ProxyView): ProxyView {
  const target: Address = { host: '10.0.0.1', port: 1 };
  return {
    ...view,
    uid: UID,
    targets: view.targets.map(() => target),
    ...(view.tls && { tls: { ...view.tls, peer: 'peer' } }),
  };
}

/** A text in which values from outside, each a single word, are replaced by their positions. */
function structure(text: string, { uid, targets, tls }: ProxyView): string {
  const values = [
    uid,
    // The names of services in stunnel.conf contain no colon.
    ...targets.flatMap(({ host, port }) => [
      `[${host}]:${port}`,
      `${host}:${port}`,
      `${host}_${port}`.replaceAll(':', '_'),
    ]),
    tls?.peer ?? '',
  ];
  // The longest first, because one may be a part of another.
  const known = [...new Set(values)].filter((value) => /^[\w.:[\]-]+$/.test(value)).sort((a, b) => b.length - a.length);
  return known.reduce((rest, value) => rest.replace(between(value), '§'), text);
}

/** A value that is a separate word, not a part of one. The option `sni` of stunnel appends a server name to it. */
const between = (value: string): RegExp =>
  new RegExp(`(?<![\\w.:-])${value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w.-]|:(?!probe\\.))`, 'g');

function check(wish: Wish, render: (view: ProxyView) => string): void {
  const view = viewOf(wish);
  if (!view) return;
  const made = refusalOf(() => render(view));
  const usual = refusalOf(() => render(plain(view)));
  if ('code' in made || 'code' in usual) return assert.equal(made, usual);
  assert.is(structure(made.value, view), structure(usual.value, plain(view)));
}

const renderer = (name: string) => createRenderer([templateDirectory(name)]);

const haproxyRenderer = renderer('haproxy');
const haproxyOptions = HaproxyOptions.parse({});
s('template: haproxy', wishes, (wish) =>
  check(wish, (view) =>
    haproxy(haproxyRenderer, view, haproxyOptions, view.role === 'inbound' ? 'runtime-socket' : 'master-worker'),
  ),
);

const nginxRenderer = renderer('nginx');
const nginxOptions = NginxOptions.parse({});
s('template: nginx', wishes, (wish) => check(wish, (view) => nginx(nginxRenderer, view, nginxOptions, RUNTIME)));

const stunnelRenderer = renderer('stunnel');
const PSK = { identity: 'site-a', compatibility: false };
const stunnelOptions = StunnelOptions.parse({});
s('template: stunnel', wishes, (wish) => check(wish, (view) => stunnel(stunnelRenderer, view, stunnelOptions, PSK)));

s.test('the check finds a line that was put in', () => {
  const view = viewOf({ uid: UID, role: 'inbound', transport: 'tcp', targets: ['10.0.0.1:1'], peer: null });
  if (!view) throw new Error('refused');
  const evil = { ...view, targets: [{ host: '10.0.0.1:1\n  server s9 198.51.100.66', port: 1 }] };
  const [made, usual] = [evil, plain(view)].map((one) =>
    structure(haproxy(haproxyRenderer, one, haproxyOptions, 'runtime-socket'), one).split('\n'),
  );
  assert.is.not(made?.length, usual?.length);
});

const PARTS = ['certificate', 'key', 'ca', 'peer'] as const;
const damaged = fc
  .tuple(
    fc.constantFrom(...PARTS),
    fc.oneof(
      fc.constantFrom(...PARTS.map((part) => TLS[part]), ...PARTS.map((part) => OTHER[part])),
      nearly(PARTS.map((part) => TLS[part])),
    ),
  )
  .map(([part, value]): StreamTls => ({ ...TLS, [part]: value }));

s('credentials of a stream', damaged, (tls) => {
  const result = refusalOf(() => parseCredentials(tls));
  if ('code' in result) return assert.is(result.code, 'SCI_CREDENTIALS_INVALID');
  const { certificate, key, ca, peer } = result.value;
  for (const pem of [certificate, key, ca]) {
    assert.match(pem, /^-----BEGIN [A-Z ]+-----\n([A-Za-z0-9+/=]+\n)+-----END [A-Z ]+-----\n$/);
  }
  assert.match(peer, /^[A-Za-z0-9.-]{1,253}$/);
});

s.run();
