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

const refusal = (text: string, now = NOW): string => {
  try {
    parseTicket(text, now);
  } catch (error) {
    if (SciStreamError.is(error) && error.code === 'SCI_TICKET_INVALID')
      return [error.message, ...error.suggestions].join(' ');
    throw error;
  }
  throw new Error('the ticket was accepted');
};

/** The text of a ticket of any content with a checksum that fits. */
const forged = (content: unknown): string => {
  const good = formatTicket({ ...TICKET, name: 'x' });
  const body = deflateRawSync(JSON.stringify(content)).toString('base64url');
  const sum = formatTicketChecksum(body);
  return good.replace(/\..*$/, `.${body}.${sum}`);
};

const formatTicketChecksum = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, 8);

s('comes back as it went in', () => {
  const text = formatTicket(TICKET);
  assert.match(text, /^scistream2\.[A-Za-z0-9_-]+\.[0-9a-f]{8}$/);
  assert.equal(parseTicket(text, NOW), TICKET);
  assert.ok(text.length < 1800, `${text.length} characters`);
});

s('survives the line breaks of a mail', () => {
  const broken = formatTicket(TICKET).replace(/(.{60})/g, '$1\r\n  ');
  assert.equal(parseTicket(`  ${broken}\n`, NOW), TICKET);
});

s('does without a fingerprint', () => {
  const { fingerprint: _, ...plain } = TICKET;
  assert.is(parseTicket(formatTicket(plain), NOW).fingerprint, undefined);
});

s('notices every way of cutting it off', () => {
  const text = formatTicket(TICKET);
  for (let length = 0; length < text.length; length += 1) refusal(text.slice(0, length));
});

s('notices a changed character', () => {
  const text = formatTicket(TICKET);
  for (let i = 0; i < text.length; i += 1) {
    const other = text[i] === 'A' ? 'B' : 'A';
    refusal(text.slice(0, i) + other + text.slice(i + 1));
  }
});

s('carries no credentials of a stream that is not encrypted', () => {
  const { tls: _, ...plain } = TICKET;
  const text = formatTicket(plain);
  assert.is(parseTicket(text, NOW).tls, undefined);
  assert.ok(text.length < 400, `${text.length} characters`);
});

s('names the other version', () => {
  const of = (version: string): string => refusal(formatTicket(TICKET).replace('scistream2', version));
  assert.match(of('scistream1'), /version 1.* Update SciStream on the machine that created the ticket/s);
  assert.match(of('scistream3'), /version 3.* Update SciStream here/s);
});

s('is refused after the stream has ended', () => {
  assert.match(
    refusal(formatTicket(TICKET), new Date('2026-01-01T08:00:00Z')),
    /expired at 2026-01-01T08:00:00.* Ask for a new ticket/s,
  );
});

s('with unknown or wrong fields is refused', () => {
  const { tls: _, ...rest } = TICKET;
  const json = { ...rest, s2cs: '[2001:db8::1]:5000', listeners: ['203.0.113.10:5100'] };
  assert.is(parseTicket(forged(json), NOW).name, 'tomo', 'the forged form itself is well-formed');
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
    assert.match(refusal(forged({ ...json, ...wrong })), 'does not contain');
  }
});

s('that is too long is refused before it is read', () => {
  assert.match(refusal(`scistream2.${'A'.repeat(9000)}.00000000`), 'more than 8192');
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

s('no error quotes what a ticket holds', () => {
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
