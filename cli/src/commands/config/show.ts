import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { chosenKind, kindFlag } from '../../config-kind.js';
import { table } from '../../output.js';

const SECRET = /(secret|password|passphrase|psk|token|sha256)$/i;

export default class ConfigShow extends BaseCommand {
  static override summary = 'show all configuration values and their origin';
  static override args = { file: Args.string({ description: 'configuration file; same as --config' }) };
  static override flags = { kind: kindFlag() };
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --json',
  ];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(ConfigShow);
    const config = args.file ?? flags.config;
    const kind = await chosenKind(flags.kind, config);
    const { file = null, values } = await this.loadConfig(kind, { config });
    const shown = values.map((entry) => (SECRET.test(entry.key) ? { ...entry, value: '(hidden)' } : entry));
    const rows = shown.map(({ key, value, origin, source }) => [key, text(value), source || origin]);
    this.log(table(['KEY', 'VALUE', 'FROM'], rows));
    return { kind, file, values: shown };
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
