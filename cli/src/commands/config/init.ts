import { dirname, join } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { SciStreamError, systemCode, writeAtomically } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';

export default class ConfigInit extends BaseCommand {
  static override summary = 'write a commented starter configuration';
  static override args = {
    file: Args.string({ description: 'file to write; default: scistream.config.yaml, s2cs.conf or s2ds.conf' }),
  };
  static override flags = {
    kind: Flags.option({
      options: ['s2uc', 's2cs', 's2ds'] as const,
      default: 's2uc' as const,
      summary: 'kind of configuration',
    })(),
    force: Flags.boolean({ summary: 'overwrite an existing file' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --kind s2cs /etc/scistream/s2cs.conf',
  ];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(ConfigInit);
    const { STARTER_FILES, STARTER_POLICY, STARTER_POLICY_FILE, STARTERS } = await import('../../starter-config.js');
    const { writeFile } = await import('node:fs/promises');
    const file = args.file ?? STARTER_FILES[flags.kind];
    try {
      if (flags.force) await writeAtomically(file, STARTERS[flags.kind], { mode: 0o600 });
      else await writeFile(file, STARTERS[flags.kind], { mode: 0o600, flag: 'wx' });
    } catch (error) {
      throw notWritten(file, error);
    }
    const policy = flags.kind === 's2cs' ? join(dirname(file), STARTER_POLICY_FILE) : undefined;
    if (policy !== undefined) {
      // Rules that exist are never replaced.
      await writeFile(policy, STARTER_POLICY, { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
        if (systemCode(error) !== 'EEXIST') throw notWritten(policy, error);
      });
    }
    const edit = policy === undefined ? `Edit it` : `Edit it and ${policy}`;
    this.log(`Wrote ${file}. ${edit}, then run: scistream config check --config ${file}`);
    return { file, kind: flags.kind, ...(policy !== undefined && { policy }) };
  }
}

function notWritten(file: string, error: unknown): SciStreamError {
  const exists = systemCode(error) === 'EEXIST';
  const why = exists ? `${file} already exists.` : `Cannot write ${file} (${systemCode(error) ?? String(error)}).`;
  return new SciStreamError('SCI_USAGE', why, {
    cause: error,
    suggestions: exists
      ? [`scistream config init --force ${file}`]
      : ['Choose another path: scistream config init FILE'],
  });
}
