import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';

/** Of a client: it becomes the name of a file and a subject in rules. */
const CLIENT = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

export default class CertInit extends BaseCommand {
  static override summary = 'make a small private CA, the certificate of a server, and certificates of clients';
  static override description =
    'Clients accept a server only under the names in its certificate: give every DNS name and IP address they use for it. The name of this machine is added; without any, its addresses too. What is in the directory already is kept, so that the same command with --server or --client adds to it.';
  static override args = {
    names: Args.string({ description: 'DNS names and IP addresses of the server', helpValue: 'NAMES...' }),
  };
  static override strict = false;
  static override flags = {
    dir: Flags.string({ summary: 'directory of the files, made with mode 700', helpValue: 'DIR', default: 'certs' }),
    server: Flags.string({ summary: 'how the files of the server are called', helpValue: 'NAME', default: 'server' }),
    client: Flags.string({
      summary: 'make a certificate for this client, too; may be repeated',
      helpValue: 'NAME',
      multiple: true,
      multipleNonGreedy: true,
    }),
    days: Flags.integer({
      summary: 'how long they are valid, at most as long as the CA (ten years)',
      min: 1,
      max: 3650,
    }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> s2cs.aps.example 203.0.113.10',
    '<%= config.bin %> <%= command.id %> --client alice --client bob',
    '<%= config.bin %> <%= command.id %> --dir gateways --server dtn1 10.0.1.20 --client s2cs',
  ];

  async run(): Promise<object> {
    const { flags, argv } = await this.parse(CertInit);
    const names = argv.map(String);
    const clients = flags.client ?? [];
    for (const name of [flags.server, ...clients]) mustBeFileName(name);
    if (clients.includes(flags.server)) throw alike(flags.server);
    const { initialise } = await import('../../cert-init.js');
    const made = await initialise({ dir: flags.dir, server: flags.server, names, clients, days: flags.days });
    this.log(made.text);
    return made.result;
  }
}

function mustBeFileName(name: string): void {
  if (CLIENT.test(name) && name !== 'ca') return;
  throw new SciStreamError('SCI_USAGE', `${JSON.stringify(name)} cannot be the name of a client or of files.`, {
    suggestions: ['Use letters, digits, ".", "_", "@" and "-", and not ca.'],
  });
}

const alike = (name: string): SciStreamError =>
  new SciStreamError('SCI_USAGE', `The server and a client cannot both be called ${name}.`, {
    suggestions: ['Name the files of the server otherwise: --server NAME'],
  });
