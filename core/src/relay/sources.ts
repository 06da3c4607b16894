import { BlockList, isIP } from 'node:net';

const MAPPED = /^::ffff:(?=\d+\.)/i;

/**
 * The networks from which a listener accepts clients. IPv4 and IPv6 have separate lists, because ::/0 in a `BlockList`
 * includes all IPv4 addresses. An IPv4-mapped address (::ffff:a.b.c.d) counts as IPv4.
 */
export class Sources {
  readonly #four = new BlockList();
  readonly #six = new BlockList();

  /** @param networks In CIDR notation. @throws Error with the text that is not a network */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', prefix = ''] = network.split('/');
      const family = isIP(address);
      if (family === 0 || !/^\d{1,3}$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) {
        throw new Error(`${JSON.stringify(network).slice(0, 100)} is not a network`);
      }
      if (family === 4) this.#four.addSubnet(address, Number(prefix), 'ipv4');
      else this.#six.addSubnet(address, Number(prefix), 'ipv6');
    }
  }

  /**
   * Returns true if a client is accepted.
   * @param address As the socket reports it. Undefined, after the peer has closed the connection, is rejected.
   */
  allow(address: string | undefined): boolean {
    // Sockets append the interface to a link-local address.
    const ip = address?.replace(MAPPED, '').replace(/%.*$/, '') ?? '';
    const family = isIP(ip);
    if (family === 0) return false;
    return family === 4 ? this.#four.check(ip, 'ipv4') : this.#six.check(ip, 'ipv6');
  }
}
