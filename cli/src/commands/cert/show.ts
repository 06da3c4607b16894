import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { momentText } from '../../present/text.js';

export default class CertShow extends BaseCommand {
  static override summary = 'show a certificate and report problems with it';
  static override description = 'Exits with 1 when the certificate has a problem.';
  static override args = { file: Args.string({ description: 'certificate (PEM)', required: true }) };
  static override flags = {
    as: Flags.option({
      options: ['server', 'client', 'authority'] as const,
      summary: 'intended use; default: the use stated in the certificate',
    })(),
    host: Flags.string({ summary: 'check that it covers this DNS name or IP address', helpValue: 'NAME' }),
    ca: Flags.string({ summary: 'check that this CA signed it', helpValue: 'FILE' }),
    key: Flags.string({ summary: 'check that this key belongs to it', helpValue: 'FILE' }),
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
        `for          ${use.join(', ') || 'no known use'}`,
        `signed by    ${issuer === subject ? 'itself' : issuer}`,
        `valid        ${momentText(validFrom)} to ${momentText(validTo)}`,
        `fingerprint  ${fingerprint}`,
        '',
        findingsText(flaws.map((flaw) => ({ check: 'certificate', ...flaw }))),
      ].join('\n'),
    );
    if (flaws.some(({ level }) => level === 'problem')) process.exitCode = 1;
    return { file: args.file, ...facts, flaws };
  }
}
