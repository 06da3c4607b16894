import { Flags } from '@oclif/core';
import { parseDuration } from '@scistream/core';
import { BaseCommand } from '../base-command.js';
import { chosenKind } from '../config-kind.js';
import { findingsText } from '../doctor/finding.js';

export default class Doctor extends BaseCommand {
  static override summary = 'find problems in the configuration and on this host';
  static override description =
    'With the configuration of a daemon, checks this host for that daemon: run it on the same host, as the user of the daemon. With the configuration of a user, contacts every facility. Exits with 1 when a check reports a problem.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf',
    '<%= config.bin %> <%= command.id %> --config s2ds.conf --json',
  ];

  static override flags = {
    wait: Flags.string({ summary: 'maximum time for the answer of a facility; default: 10s' }),
  };

  /** Sets exit code 1 when a check reports `problem`. */
  async run(): Promise<object> {
    const { flags } = await this.parse(Doctor);
    const [{ checkMachine }, { checkDaemon }, { checkFacilities }] = await Promise.all([
      import('../doctor/machine.js'),
      import('../doctor/daemon.js'),
      import('../doctor/facilities.js'),
    ]);
    const deadlineMs = flags.wait === undefined ? undefined : parseDuration(flags.wait);
    const kind = await chosenKind(undefined, flags.config);
    const checks =
      kind === 's2uc'
        ? await checkFacilities((await this.loadConfig(kind, { config: flags.config })).config, deadlineMs)
        : await checkDaemon(this.config, (await this.loadConfig(kind, { config: flags.config })).config);
    const findings = [...(await checkMachine()), ...checks];
    this.log(findingsText(findings));
    const healthy = findings.every(({ level }) => level !== 'problem');
    if (!healthy) process.exitCode = 1;
    return { healthy, findings };
  }
}
