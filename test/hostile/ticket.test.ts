/** Tickets, which anybody may paste. */
import { createHash } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { formatTicket, parseTicket, type Ticket } from '@scistream/core/client';
import { hostileText, hostileValue, hunt, nearly, refusalOf } from './hunt.js';
import { NOW, TICKET } from './sample-ticket.js';

const s = hunt('tickets');

const { tls: _tls, ...PLAIN } = TICKET;
const TEXTS = [formatTicket(TICKET), formatTicket(PLAIN), 'scistream1.abc.01234567'];

/** Reads a ticket, or rejects it with its one code and without quoting its content. */
function read(text: string): Ticket | undefined {
  const result = refusalOf(() => parseTicket(text, NOW));
  if ('code' in result) {
    assert.is(result.code, 'SCI_TICKET_INVALID');
    return undefined;
  }
  return result.value;
}

s('ticket: text', hostileText(TEXTS), (text) => {
  const ticket = read(text);
  if (ticket) assert.equal(parseTicket(formatTicket(ticket), NOW), ticket);
});

const sealed = (json: string): string => {
  const body = deflateRawSync(json).toString('base64url');
  return `scistream2.${body}.${createHash('sha256').update(body).digest('hex').slice(0, 8)}`;
};
const bare = {
  ...PLAIN,
  s2cs: '[2001:db8::1]:5000',
  listeners: ['203.0.113.10:5100'],
  tls: { certificate: 'AAAA', key: 'AAAA', ca: 'AAAA', peer: 'a.b' },
};

/** A ticket with an additional field at the end. If a name occurs twice, the last one counts. */
const plus = (object: object, key: string, value: unknown): string =>
  `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(key)}:${JSON.stringify(value) ?? 'null'}}`;

/** A ticket with a wrong field and a correct checksum. */
const forged = fc.oneof(
  fc
    .tuple(fc.constantFrom(...Object.keys(bare), '__proto__', 'constructor', 'more'), hostileValue)
    .map(([key, value]) => plus(bare, key, value)),
  fc
    .tuple(fc.constantFrom(...Object.keys(bare.tls), '__proto__'), hostileValue)
    .map(([key, value]) => plus(bare, 'tls', JSON.parse(plus(bare.tls, key, value)))),
  nearly([JSON.stringify(bare)]),
  hostileValue.map((value) => JSON.stringify(value) ?? ''),
);

s('ticket: content', forged, (json) => {
  const ticket = read(sealed(json));
  if (!ticket) return;
  assert.match(ticket.uid, /^[A-Za-z0-9-]{8,64}$/);
  for (const { host } of [ticket.s2cs, ...ticket.listeners]) assert.match(host, /^[a-z0-9._:-]+$/);
  if (ticket.tls) assert.not.match(ticket.tls.key, /[^A-Za-z0-9+/=\n -]/);
  // Exactly the keys of the contract, and no others.
  assert.equal(
    Object.keys(ticket).filter((key) => !(key in TICKET)),
    [],
  );
});

s.test('a small ticket cannot become a large one', () => {
  assert.is(read(sealed(JSON.stringify({ ...bare, name: 'a'.repeat(5_000_000) }))), undefined);
});

/** With the prototype of parsed objects. */
const PLAIN_OBJECTS = { noNullPrototype: true } as const;
const address = fc.record(
  { host: fc.oneof(fc.ipV4(), fc.ipV6()), port: fc.integer({ min: 1, max: 65_535 }) },
  PLAIN_OBJECTS,
);
const tickets: fc.Arbitrary<Ticket> = fc.record(
  {
    uid: fc.stringMatching(/^[A-Za-z0-9-]{8,64}$/),
    name: fc.string({ unit: 'binary', maxLength: 100 }),
    s2cs: address,
    fingerprint: fc.constantFrom(undefined, TICKET.fingerprint),
    listeners: fc.array(address, { minLength: 1, maxLength: 20 }),
    transport: fc.constantFrom('tcp', 'udp'),
    connections: fc.integer({ min: 1, max: 1024 }),
    bitsPerSecond: fc.maxSafeNat(),
    expiresAt: fc
      .date({ min: new Date('2026-01-02'), max: new Date('9999-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString()),
    tls: fc.constantFrom(undefined, TICKET.tls),
  },
  PLAIN_OBJECTS,
);

const isDefined = ([, value]: [string, unknown]): boolean => value !== undefined;
s('ticket: there and back', tickets, (ticket) => {
  const found = parseTicket(formatTicket(ticket), NOW);
  assert.equal(
    Object.fromEntries(Object.entries(found).filter(isDefined)),
    Object.fromEntries(Object.entries(ticket).filter(isDefined)),
  );
});

s.run();
