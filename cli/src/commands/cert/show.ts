import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';

export default class CertShow extends BaseCommand {
  static override summary = 'say what a certificate is for, and what is wrong with it';
  static override description = 'Ends with 1 where something is wrong with it.';
  static override args = { file: Args.string({ description: 'certificate, PEM', required: true }) };
  static override flags = {
    as: Flags.option({
      options: ['server', 'client', 'authority'] as const,
      summary: 'what it is to be used as; default: what it says itself',
    })(),
    host: Flags.string({ summary: 'whether it is for this DNS name or IP address', helpValue: 'NAME' }),
    ca: Flags.string({ summary: 'whether this CA has signed it', helpValue: 'FILE' }),
    key: Flags.string({ summary: 'whether this is its key', helpValue: 'FILE' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> certs/server.crt',
    '<%= config.bin %> <%= command.id %> certs/server.crt --ca certs/ca.crt --host s2cs.aps.example --key certs/server.key',
  ];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(CertShow);
    const { describeCertificate, flawsOf, parseCertificate } = await import('@scistream/core/pki');
    const { readPem } = await import('../../cert-files.js');
    const { findingsText } = await import('../../doctor/finding.js');
    const read = async (file: string | undefined) => (file === undefined ? undefined : await readPem(file));
    const certificate = parseCertificate(await readPem(args.file), args.file);
    const facts = describeCertificate(certificate);
    const authority = await read(flags.ca);
    const flaws = flawsOf(certificate, {
      use: flags.as,
      host: flags.host,
      ca: authority === undefined ? undefined : parseCertificate(authority, flags.ca ?? ''),
      key: await read(flags.key),
    });
    const { subject, issuer, alternativeNames, validFrom, validTo, fingerprint, purposes } = facts;
    const names = alternativeNames.map(({ value }) => value).join(', ') || 'none';
    const use = facts.authority ? ['authority', ...purposes] : purposes;
    this.log(
      [
        `subject      ${subject}`,
        `names (SAN)  ${names}`,
        `for          ${use.join(', ') || 'nothing here'}`,
        `signed by    ${issuer === subject ? 'itself' : issuer}`,
        `valid        ${validFrom.toISOString()} to ${validTo.toISOString()}`,
        `fingerprint  ${fingerprint}`,
        '',
        findingsText(flaws.map((flaw) => ({ check: 'certificate', ...flaw }))),
      ].join('\n'),
    );
    if (flaws.some(({ level }) => level === 'problem')) process.exitCode = 1;
    return { file: args.file, ...facts, flaws };
  }
}
