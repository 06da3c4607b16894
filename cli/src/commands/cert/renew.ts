import { dirname, join } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';

export default class CertRenew extends BaseCommand {
  static override summary = 'make a certificate anew, with the same names, by the same CA';
  static override description =
    'The key stays the same unless --new-key is given. An authority signs for itself; what it has signed stays valid.';
  static override args = { file: Args.string({ description: 'certificate, PEM; it is replaced', required: true }) };
  static override flags = {
    key: Flags.string({ summary: 'its key; default: the file beside it that ends with .key', helpValue: 'FILE' }),
    ca: Flags.string({ summary: 'the CA; default: ca.crt beside it', helpValue: 'FILE' }),
    'ca-key': Flags.string({
      summary: 'key of the CA; default: the file beside it that ends with .key',
      helpValue: 'FILE',
    }),
    'new-key': Flags.boolean({ summary: 'make a new key, too' }),
    days: Flags.integer({ summary: 'how long it is valid, at most as long as the CA', min: 1, max: 3650 }),
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
      ? ['Give the new file to everybody who trusts it as a CA; the old one serves until it ends.']
      : [`Have the daemon that uses it read it again: kill -HUP PID, or systemctl reload. Streams go on.`];
    if (purposes.includes('server')) lines.push(`Who has pinned its fingerprint has to pin ${fingerprint} now.`);
    this.log([`${args.file} is valid until ${day(validTo)}.`, ...lines].join('\n'));
    return { ...files, newKey: flags['new-key'], validTo, fingerprint, previous: before.fingerprint };
  }
}
