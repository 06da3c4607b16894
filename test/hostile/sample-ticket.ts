import { makeCredentials, type Ticket } from '@scistream/core/client';

/** The time when the ticket is read. */
export const NOW = new Date('2026-01-01T00:00:00Z');
/** A ticket with every optional part. */
export const TICKET: Ticket = {
  uid: '9f3c2a10-0000-4000-8000-000000000001',
  name: 'tomo',
  s2cs: { host: '2001:db8::1', port: 5000 },
  fingerprint: `sha256:${'ab'.repeat(32)}`,
  listeners: [{ host: '203.0.113.10', port: 5100 }],
  transport: 'tcp',
  connections: 2,
  bitsPerSecond: 20e9,
  expiresAt: '2026-01-01T08:00:00.000Z',
  tls: makeCredentials(new Date('2026-01-01T08:00:00Z')).to,
};
