import { dirname, join } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';

export default class CertRenew extends BaseCommand {
  static override summary = 'renew a certificate with the same names and CA';
  static override description =
    'The key stays the same unless --new-key is given. A CA certificate is self-signed; certificates signed by it stay valid.';
  static override args = { file: Args.string({ description: 'certificate to replace (PEM)', required: true }) };
  static override flags = {
    key: Flags.string({
      summary: 'key of the certificate; default: the file of the same name with .key',
      helpValue: 'FILE',
    }),
    ca: Flags.string({ summary: 'certificate of the CA; default: ca.crt in the same directory', helpValue: 'FILE' }),
    'ca-key': Flags.string({
      summary: 'key of the CA; default: the file of the same name with .key',
      helpValue: 'FILE',
    }),
    'new-key': Flags.boolean({ summary: 'also create a new key' }),
    days: Flags.integer({ summary: 'validity in days, limited by the CA', min: 1, max: 3650 }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> certs/server.crt',
    '<%= config.bin %> <%= command.id %> certs/alice.crt --new-key --days 30',
  ];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(CertRenew);
    const { describeCertificate, parseCertificate, renew } = await import('@scistream/core/pki');
    const { day, pairOf, readPair, writePair } = await import('../../cert-files.js');
    const files = { ...pairOf(args.file), ...(flags.key !== undefined && { key: flags.key }) };
    const authority = flags.ca ?? join(dirname(args.file), 'ca.crt');
    const old = await readPair(files);
    const before = describeCertificate(parseCertificate(old.certificate, args.file));
    const ca = before.authority
      ? undefined
      : await readPair({ ...pairOf(authority), ...(flags['ca-key'] !== undefined && { key: flags['ca-key'] }) });
    const made = renew(old, ca, { newKey: flags['new-key'], days: flags.days });
    await writePair(files, made);
    const { validTo, fingerprint, purposes } = describeCertificate(parseCertificate(made.certificate, args.file));
    const lines = before.authority
      ? ['Distribute the new CA certificate to everyone who trusts it. The old one stays valid until it expires.']
      : ['Reload the daemon that uses it: kill -HUP PID, or systemctl reload. Streams keep running.'];
    if (purposes.includes('server')) lines.push(`Clients that pin the fingerprint must change it to ${fingerprint}.`);
    this.log([`${args.file} is valid until ${day(validTo)}.`, ...lines].join('\n'));
    return { ...files, newKey: flags['new-key'], validTo, fingerprint, previous: before.fingerprint };
  }
}
