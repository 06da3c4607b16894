import { createHash, randomBytes } from 'node:crypto';
import { Flags } from '@oclif/core';
import { SciStreamError, systemCode } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';

const TOKEN_BYTES = 32;

export default class TokenNew extends BaseCommand {
  static override summary = 'create a token for a user of a control server';
  static override description =
    'Prints the token once, or writes it to a file, and prints the entry for auth in the configuration of s2cs. The entry contains only the hash of the token, so the token cannot be shown again.';
  static override flags = {
    subject: Flags.string({ summary: 'name of the user, as in rules and owners', helpValue: 'NAME', required: true }),
    group: Flags.string({
      summary: 'group of the user; may be repeated',
      helpValue: 'GROUP',
      multiple: true,
      multipleNonGreedy: true,
    }),
    admin: Flags.boolean({ summary: 'allow the user to see and manage all streams and gateways' }),
    file: Flags.string({ summary: 'write the token to this new file, with mode 600', helpValue: 'FILE' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> --subject alice',
    '<%= config.bin %> <%= command.id %> --subject alice --group beamline-7 --file alice.token',
  ];

  async run(): Promise<void> {
    const { flags } = await this.parse(TokenNew);
    const { subject, group: groups = [], admin, file } = flags;
    const { isIdentityName } = await import('@scistream/core/config');
    for (const name of [subject, ...groups]) if (!isIdentityName(name)) throw notName(name);
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const sha256 = createHash('sha256').update(token).digest('hex');
    if (file !== undefined) await writeNew(file, token);
    const entry = { subject, sha256, ...(groups.length > 0 && { groups }), ...(admin && { admin }) };
    const where = file === undefined ? `token: ${token}` : `token: in ${file}`;
    const text = [
      where,
      `entry of auth[].tokens for ${subject}:`,
      // JSON is YAML, and quotes every name correctly.
      `  - ${JSON.stringify(entry)}`,
      '',
      'Add the entry to the configuration of s2cs under auth: [{ use: token, tokens: […] }], and reload it (SIGHUP).',
      `Give the token to ${subject} through a private channel. It cannot be shown again.`,
    ];
    await this.print(text.join('\n'), { ...(file === undefined ? { token } : { file }), entry });
  }
}

/** Writes the token without a line end, and never over another file. @throws SCI_USAGE */
async function writeNew(file: string, token: string): Promise<void> {
  const { rm, writeFile } = await import('node:fs/promises');
  await writeFile(file, token, { mode: 0o600, flag: 'wx', flush: true }).catch(async (cause: unknown) => {
    const exists = systemCode(cause) === 'EEXIST';
    if (!exists) await rm(file, { force: true });
    const why = exists ? 'it already exists' : (systemCode(cause) ?? String(cause));
    throw new SciStreamError('SCI_USAGE', `Cannot write ${file}: ${why}.`, {
      cause,
      suggestions: ['Choose another path: --file FILE'],
    });
  });
}

const notName = (name: string): SciStreamError =>
  new SciStreamError('SCI_USAGE', `${JSON.stringify(name)} is not a name of a user or a group.`, {
    suggestions: ['Use 1 to 200 characters, without control and formatting characters.'],
  });
