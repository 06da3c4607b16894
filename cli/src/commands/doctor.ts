import { BaseCommand } from '../base-command.js';
import { chosenKind } from '../config-kind.js';
import { findingsText } from '../doctor/finding.js';

export default class Doctor extends BaseCommand {
  static override summary = 'check what goes wrong before it goes wrong';
  static override description =
    'With the configuration of a daemon it looks at the machine as that daemon would use it: run it there, as its user. With that of a user it asks every facility.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf',
    '<%= config.bin %> <%= command.id %> --config s2ds.conf --json',
  ];

  /** Exit code 1 where a check says `problem`. */
  async run(): Promise<object> {
    const { flags } = await this.parse(Doctor);
    const [{ checkMachine }, { checkDaemon }, { checkFacilities }] = await Promise.all([
      import('../doctor/machine.js'),
      import('../doctor/daemon.js'),
      import('../doctor/facilities.js'),
    ]);
    const kind = await chosenKind(undefined, flags.config);
    const checks =
      kind === 's2uc'
        ? await checkFacilities((await this.loadConfig(kind, { config: flags.config })).config)
        : await checkDaemon(this.config, (await this.loadConfig(kind, { config: flags.config })).config);
    const findings = [...(await checkMachine()), ...checks];
    this.log(findingsText(findings));
    const healthy = findings.every(({ level }) => level !== 'problem');
    if (!healthy) process.exitCode = 1;
    return { healthy, findings };
  }
}
