import type { ProxyView } from '../proxy/view.js';

/** The view of a stream for tests of templates: two inherited listeners, IPv4 and IPv6, and no targets unless changed. */
export const testView = (changes: Partial<ProxyView> = {}): ProxyView => ({
  uid: '6f1c2a3e-0b57-4c7e-9d6b-2f1f0e7a9b10',
  role: 'inbound',
  transport: 'tcp',
  listeners: [
    { address: { host: '192.0.2.10', port: 5100 }, fd: 3 },
    { address: { host: '2001:db8::10', port: 5101 }, fd: 4 },
  ],
  targets: [],
  bitsPerSecond: undefined,
  ...changes,
});
