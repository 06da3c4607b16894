import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';

/** A client name; it becomes a file name and the subject in policy rules. */
const CLIENT = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

export default class CertInit extends BaseCommand {
  static override summary = 'create a private CA, a server certificate and client certificates';
  static override description =
    'Clients accept a server only under the names in its certificate: give every DNS name and IP address that they use. Without --server, the host name of this machine is included, and without NAMES its addresses too. With --server NAME, the certificate is for another server: it contains only NAMES, or NAME if there are none. Existing files are kept, so you can run the command again with --server or --client to add certificates.';
  static override args = {
    names: Args.string({ description: 'DNS names and IP addresses of the server', helpValue: 'NAMES...' }),
  };
  static override strict = false;
  static override flags = {
    dir: Flags.string({ summary: 'directory of the files, created with mode 700', helpValue: 'DIR', default: 'certs' }),
    server: Flags.string({
      summary: 'create the certificate of another server, in files of this name; default: server',
      helpValue: 'NAME',
    }),
    client: Flags.string({
      summary: 'create a certificate for this client; may be repeated',
      helpValue: 'NAME',
      multiple: true,
      multipleNonGreedy: true,
    }),
    days: Flags.integer({
      summary: 'validity in days, limited by the CA (ten years)',
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
    const { dir, days, server = 'server', client: clients = [] } = flags;
    const here = flags.server === undefined;
    const names = here || argv.length > 0 ? argv.map(String) : [server];
    for (const name of [server, ...clients]) mustBeFileName(name);
    if (clients.includes(server)) throw alike(server);
    const { initialise } = await import('../../cert-init.js');
    const made = await initialise({ dir, server, names, here, clients, days });
    this.log(made.text);
    return made.result;
  }
}

function mustBeFileName(name: string): void {
  if (CLIENT.test(name) && name !== 'ca') return;
  throw new SciStreamError('SCI_USAGE', `${JSON.stringify(name)} is not a valid client or file name.`, {
    suggestions: ['Use letters, digits, ".", "_", "@" and "-". The name ca is reserved.'],
  });
}

const alike = (name: string): SciStreamError =>
  new SciStreamError('SCI_USAGE', `The server and a client have the same name ${name}.`, {
    suggestions: ['Choose another name for the server files: --server NAME'],
  });
