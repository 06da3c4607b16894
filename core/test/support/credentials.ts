import { issue, makeAuthority, parseHostName, type Issued } from '@scistream/core/pki';

const DAY_MS = 86_400_000;
const BEFORE = (): Date => new Date(Date.now() - 2 * DAY_MS);

/** PEM files of one side, by the names that the relay worker reads. */
export interface Credentials {
  readonly 'tls.crt': string;
  readonly 'tls.key': string;
  readonly 'ca.crt': string;
}

/** Differences from the certificate of a gateway. */
interface Wish {
  readonly usage?: 'serverAuth' | 'clientAuth';
  readonly expired?: boolean;
}

/** The certificate authority of a stream. */
export class Authority {
  private constructor(private readonly pair: Issued) {}

  static async make(): Promise<Authority> {
    return new Authority(makeAuthority('stream', BEFORE()));
  }

  /** Credentials of a gateway with this DNS name. */
  async issue(name: string, { usage, expired = false }: Wish = {}): Promise<Credentials> {
    const purposes = usage
      ? [usage === 'serverAuth' ? ('server' as const) : ('client' as const)]
      : (['server', 'client'] as const);
    const wish = { name, purposes, alternativeNames: [parseHostName(name)], days: expired ? 1 : 3 };
    const { certificate, key } = issue(this.pair, wish, BEFORE());
    return { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': this.pair.certificate };
  }
}
