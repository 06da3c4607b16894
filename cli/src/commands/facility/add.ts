import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Args, Flags } from '@oclif/core';
import { formatAddress, SciStreamError } from '@scistream/core';
import { printableLine } from '@scistream/core/terminal';
import type { S2ucConfig } from '@scistream/core/config';
import { BaseCommand } from '../../base-command.js';
import type { NewFacility } from '../../facility-config.js';
import { momentText } from '../../present/text.js';

/** As names in the configuration. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export default class FacilityAdd extends BaseCommand {
  static override summary = 'add a facility to your configuration';
  static override description =
    'Connects to the control server of the facility and shows its certificate. If no CA of this system has signed it, the command asks whether its fingerprint is the one that s2cs printed, and stores the fingerprint. Without a terminal, give the expected fingerprint or CA.';
  static override args = {
    server: Args.string({ description: 'control server: host:port', required: true }),
  };
  static override flags = {
    name: Flags.string({
      summary: 'name of the facility; default: the first part of the host name',
      helpValue: 'NAME',
    }),
    fingerprint: Flags.string({
      summary: 'expected SHA-256 fingerprint of the certificate',
      helpValue: 'sha256:…',
      exclusive: ['ca'],
    }),
    ca: Flags.string({ summary: 'PEM file of the CA that signed the certificate', helpValue: 'FILE' }),
    'token-file': Flags.string({
      summary: 'file with your token',
      helpValue: 'FILE',
      exclusive: ['token-env'],
    }),
    'token-env': Flags.string({ summary: 'environment variable with your token', helpValue: 'NAME' }),
    replace: Flags.boolean({ summary: 'replace a facility with this name' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> s2cs.aps.example:5000',
    '<%= config.bin %> <%= command.id %> 203.0.113.10:5000 --name aps --token-file aps.token',
  ];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(FacilityAdd);
    const { file, config } = await this.#configuration(flags.config);
    const { parseAddress, parseFingerprint } = await import('@scistream/core/config');
    const address = parseAddress(args.server, 'Control server');
    const name = flags.name ?? nameOf(address.host);
    mustBeNew(name, config, flags.replace);
    const ca = flags.ca === undefined ? undefined : resolve(flags.ca);
    const expected = flags.fingerprint === undefined ? undefined : parseFingerprint(flags.fingerprint);
    const fingerprint = await this.#trusted(args.server, ca, expected);
    const token = flags['token-file']
      ? { file: resolve(flags['token-file']) }
      : flags['token-env'] && { env: flags['token-env'] };
    const facility: NewFacility = {
      s2cs: formatAddress(address),
      ...(ca !== undefined && { ca }),
      ...(fingerprint !== undefined && { fingerprint }),
      ...(token && { token }),
    };
    const { writeFacility } = await import('../../facility-config.js');
    await writeFacility(file, name, facility);
    const check = token
      ? `Check your token: scistream whoami ${name}`
      : `Set facilities.${name}.token in it, or log in.`;
    this.log(`Added ${name} to ${file}. ${check}`);
    return { name, ...facility, file };
  }

  /** The configuration of the user, and the file to write. */
  async #configuration(given: string | undefined): Promise<{ file: string; config: S2ucConfig }> {
    const { existsSync } = await import('node:fs');
    if (given !== undefined && !existsSync(given))
      return { file: resolve(given), config: { facilities: {}, streams: {} } };
    const { config, file } = await this.loadConfig('s2uc', { config: given });
    return { file: file ?? join(this.config.configDir, 'scistream.config.yaml'), config };
  }

  /**
   * Shows the certificate and decides whether it is trusted.
   * @returns The fingerprint to store; undefined if a CA is trusted
   * @throws SCI_TLS_UNTRUSTED, and the errors of the connection
   */
  async #trusted(server: string, ca: string | undefined, expected: string | undefined): Promise<string | undefined> {
    const { resolveEndpoint, showServer } = await import('@scistream/core/client');
    const { describeCertificate } = await import('@scistream/core/pki');
    const { certificate, distrust } = await showServer(resolveEndpoint(server, {}, { ca }));
    const { subject, alternativeNames, validFrom, validTo, fingerprint } = describeCertificate(certificate);
    const names = alternativeNames.map(({ value }) => value).join(', ') || 'none';
    const lines = [
      `subject      ${subject}`,
      `names        ${names}`,
      `valid        ${momentText(validFrom)} to ${momentText(validTo)}`,
      `fingerprint  ${fingerprint}`,
    ];
    this.log(`Certificate of ${server}:\n${lines.map((line) => `  ${printableLine(line)}`).join('\n')}`);
    if (expected !== undefined) {
      if (expected === fingerprint) return fingerprint;
      throw untrusted(server, `its certificate is not the expected ${expected}, so the connection may be intercepted`);
    }
    if (distrust === undefined) return undefined;
    if (ca !== undefined) throw untrusted(server, distrust);
    if (await confirmed('Is this the fingerprint that the operator gave you? [y/N] ')) return fingerprint;
    throw untrusted(server, `${distrust}, and its fingerprint was not confirmed`, fingerprint);
  }
}

/** The first part of a host name. @throws SCI_USAGE for an address, or for a part that is no name */
function nameOf(host: string): string {
  const [name = ''] = host.split('.');
  if (isIP(host) === 0 && NAME.test(name)) return name;
  throw new SciStreamError('SCI_USAGE', `${host} gives no name for the facility.`, {
    suggestions: ['Choose one: --name NAME'],
  });
}

function mustBeNew(name: string, { facilities }: S2ucConfig, replace: boolean): void {
  if (!NAME.test(name)) {
    throw new SciStreamError('SCI_USAGE', `${JSON.stringify(name)} is not a name.`, {
      suggestions: ['Use letters, digits, ".", "_" and "-": --name NAME'],
    });
  }
  if (replace || !Object.hasOwn(facilities, name)) return;
  throw new SciStreamError('SCI_USAGE', `The configuration has a facility ${name} already.`, {
    suggestions: ['Choose another name: --name NAME', 'Or replace it: --replace'],
  });
}

/** Asks at the terminal. False without one. */
async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const closed = new Promise<string>((done) => lines.once('close', () => done('')));
  try {
    return /^y(es)?$/i.test((await Promise.race([lines.question(question), closed])).trim());
  } finally {
    lines.close();
  }
}

const untrusted = (server: string, why: string, fingerprint?: string): SciStreamError =>
  new SciStreamError('SCI_TLS_UNTRUSTED', `Control server ${server} is not trusted: ${why}.`, {
    suggestions: [
      'Ask the operator for the fingerprint that s2cs printed.',
      ...(fingerprint === undefined ? [] : [`If it is this one: --fingerprint ${fingerprint}`]),
      'Or trust the CA that signed the certificate: --ca FILE',
    ],
  });
