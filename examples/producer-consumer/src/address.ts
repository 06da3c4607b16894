import { isIPv6 } from 'node:net';

/** A TCP address. */
export interface Address {
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
}

/** `host:port`, IPv6 addresses in brackets. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
