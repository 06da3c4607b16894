import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { issue, makeAuthority, parseHostName, type Issued, type Purpose } from '@scistream/core/pki';

/** Files of a certificate and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** Differences from a client certificate that is valid from now on. */
interface Wish {
  readonly purposes?: readonly Purpose[];
  readonly hosts?: readonly string[];
  readonly days?: number;
  readonly now?: Date;
}

/** A CA for tests, stored in files. */
export class TestAuthority {
  private constructor(
    private readonly directory: string,
    private readonly name: string,
    private readonly pair: Issued,
  ) {}

  /** @param name Prefix of its file names. @param now Start of its validity. */
  static async make(directory: string, name = 'ca', now?: Date): Promise<TestAuthority> {
    const authority = new TestAuthority(directory, name, makeAuthority(`${name} of a test`, now));
    await writeFile(authority.file, authority.pair.certificate);
    return authority;
  }

  /** File of its certificate. */
  get file(): string {
    return join(this.directory, `${this.name}.crt`);
  }

  async issue(subject: string, { hosts = [], purposes = ['client'], days, now }: Wish = {}): Promise<CertificateFiles> {
    const alternativeNames = hosts.map(parseHostName);
    const { certificate, key } = issue(this.pair, { name: subject, purposes, alternativeNames, days }, now);
    const base = join(this.directory, `${this.name}-${subject}`);
    const files = { cert: `${base}.crt`, key: `${base}.key` };
    await writeFile(files.cert, certificate);
    await writeFile(files.key, key, { mode: 0o600 });
    return files;
  }

  /** Issues the certificate of a server at this address. */
  server(subject: string, host: string): Promise<CertificateFiles> {
    return this.issue(subject, { hosts: [host], purposes: ['server'] });
  }
}
