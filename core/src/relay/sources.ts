import { BlockList, isIP } from 'node:net';

const MAPPED = /^::ffff:(?=\d+\.)/i;

/**
 * The networks that may connect. IPv4 and IPv6 are kept apart, because a `BlockList` takes ::/0 for all of IPv4, too; an
 * IPv4 address that comes over a socket of IPv6 (::ffff:a.b.c.d) counts as what it is.
 */
export class Sources {
  readonly #four = new BlockList();
  readonly #six = new BlockList();

  /** @throws Error that names what is no network */
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

  /** @param address As sockets tell it; undefined, when the peer has left already, is nobody. */
  allow(address: string | undefined): boolean {
    // Without the interface, which sockets add to a link-local address.
    const ip = address?.replace(MAPPED, '').replace(/%.*$/, '') ?? '';
    const family = isIP(ip);
    if (family === 0) return false;
    return family === 4 ? this.#four.check(ip, 'ipv4') : this.#six.check(ip, 'ipv6');
  }
}
