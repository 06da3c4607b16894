import { createHash, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError } from '@scistream/core';
import { formatTicket, makeCredentials, parseTicket, type Ticket } from '@scistream/core/client';

const s = suite('ticket');

const NOW = new Date('2026-01-01T00:00:00Z');
const TICKET: Ticket = {
  uid: '9f3c2a10-0000-4000-8000-000000000001',
  name: 'tomo',
  s2cs: { host: '2001:db8::1', port: 5000 },
  fingerprint: `sha256:${'ab'.repeat(32)}`,
  listeners: [
    { host: '203.0.113.10', port: 5100 },
    { host: '203.0.113.10', port: 5101 },
  ],
  transport: 'tcp',
  connections: 2,
  bitsPerSecond: 20e9,
  expiresAt: '2026-01-01T08:00:00.000Z',
  tls: makeCredentials(new Date('2026-01-01T08:00:00Z')).to,
};

const rejection = (text: string, now = NOW): string => {
  try {
    parseTicket(text, now);
  } catch (error) {
    if (SciStreamError.is(error) && error.code === 'SCI_TICKET_INVALID')
      return [error.message, ...error.suggestions].join(' ');
    throw error;
  }
  throw new Error('the ticket was accepted');
};

/** The text of a ticket with any content and a valid checksum. */
const forged = (content: unknown): string => {
  const good = formatTicket({ ...TICKET, name: 'x' });
  const body = deflateRawSync(JSON.stringify(content)).toString('base64url');
  const sum = formatTicketChecksum(body);
  return good.replace(/\..*$/, `.${body}.${sum}`);
};

const formatTicketChecksum = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, 8);

s('a parsed ticket equals the formatted one', () => {
  const text = formatTicket(TICKET);
  assert.match(text, /^scistream2\.[A-Za-z0-9_-]+\.[0-9a-f]{8}$/);
  assert.equal(parseTicket(text, NOW), TICKET);
  assert.ok(text.length < 1800, `${text.length} characters`);
});

s('a ticket tells how the listeners answer a probe, and an unknown kind counts as none', () => {
  assert.is(parseTicket(formatTicket({ ...TICKET, probe: 'close' }), NOW).probe, 'close');
  assert.is(parseTicket(formatTicket({ ...TICKET, probe: undefined }), NOW).probe, undefined);
  const later = formatTicket({ ...TICKET, probe: 'later' as 'data' });
  assert.is(parseTicket(later, NOW).probe, undefined);
});

s('line breaks of a mail are ignored', () => {
  const broken = formatTicket(TICKET).replace(/(.{60})/g, '$1\r\n  ');
  assert.equal(parseTicket(`  ${broken}\n`, NOW), TICKET);
});

s('the fingerprint is optional', () => {
  const { fingerprint: _, ...plain } = TICKET;
  assert.is(parseTicket(formatTicket(plain), NOW).fingerprint, undefined);
});

s('a truncated ticket is rejected at every length', () => {
  const text = formatTicket(TICKET);
  for (let length = 0; length < text.length; length += 1) rejection(text.slice(0, length));
});

s('a ticket with one changed character is rejected', () => {
  const text = formatTicket(TICKET);
  for (let i = 0; i < text.length; i += 1) {
    const other = text[i] === 'A' ? 'B' : 'A';
    rejection(text.slice(0, i) + other + text.slice(i + 1));
  }
});

s('the ticket of a stream without encryption has no credentials', () => {
  const { tls: _, ...plain } = TICKET;
  const text = formatTicket(plain);
  assert.is(parseTicket(text, NOW).tls, undefined);
  assert.ok(text.length < 400, `${text.length} characters`);
});

s('the error names another version and which side to upgrade', () => {
  const of = (version: string): string => rejection(formatTicket(TICKET).replace('scistream2', version));
  assert.match(of('scistream1'), /version 1.* Upgrade SciStream where the ticket was made/s);
  assert.match(of('scistream3'), /version 3.* Upgrade SciStream here/s);
});

s('a ticket is rejected after the stream has ended', () => {
  assert.match(
    rejection(formatTicket(TICKET), new Date('2026-01-01T08:00:00Z')),
    /expired at 2026-01-01T08:00:00.* Ask for a new one/s,
  );
});

s('unknown and invalid fields are rejected', () => {
  const { tls: _, ...rest } = TICKET;
  const json = { ...rest, s2cs: '[2001:db8::1]:5000', listeners: ['203.0.113.10:5100'] };
  assert.is(parseTicket(forged(json), NOW).name, 'tomo', 'the unchanged forged ticket is valid');
  for (const wrong of [
    { more: 1 },
    { uid: '../../etc' },
    { listeners: [] },
    { listeners: ['nowhere'] },
    { connections: 0 },
    { transport: 'sctp' },
    { tls: {} },
    { tls: { ...TICKET.tls } },
    { tls: { certificate: 'AAAA', key: 'AA\nAA', ca: 'AAAA', peer: 'a' } },
    { name: 'a'.repeat(100_000) },
  ]) {
    assert.match(rejection(forged({ ...json, ...wrong })), 'invalid content');
  }
});

s('a ticket above the maximum length is rejected before it is parsed', () => {
  assert.match(rejection(`scistream2.${'A'.repeat(9000)}.00000000`), 'more than 8192');
  assert.throws(
    () =>
      formatTicket({
        ...TICKET,
        listeners: Array.from({ length: 1024 }, (_, i) => ({
          host: `2001:db8::${randomBytes(2).toString('hex')}:${i.toString(16)}`,
          port: 5000 + ((i * 7919) % 50_000),
        })),
      }),
    (error: unknown) => SciStreamError.is(error) && error.code === 'SCI_TICKET_INVALID',
  );
});

s('no error quotes the content of a ticket', () => {
  const { tls } = TICKET;
  const [secret = ''] = (tls?.key ?? '').split('\n').slice(1);
  try {
    parseTicket(forged({ ...TICKET, tls: { ...tls, key: secret, more: secret } }), NOW);
  } catch (error) {
    assert.not(inspect(error, { depth: 9, showHidden: true }).includes(secret));
    return;
  }
  throw new Error('the ticket was accepted');
});

s.run();
