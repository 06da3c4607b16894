import { Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { gatewayFlags, releaseFlag } from '../gateway-flags.js';
import { printJson } from '../output.js';

export default class S2ds extends BaseCommand {
  static override summary = 'run the data server of a gateway';
  static override description =
    'Every flag except --check and --release-on-exit overrides a configuration key. It can also be set as an environment variable: SCISTREAM_ and the name of the flag.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --config s2ds.conf',
    '<%= config.bin %> <%= command.id %> --config s2ds.conf --check',
  ];
  static override flags = {
    check: Flags.boolean({ summary: 'validate the configuration and exit' }),
    'release-on-exit': releaseFlag,
    name: Flags.string({ summary: 'name of the gateway' }),
    listen: Flags.string({ summary: 'listen address for the control server', helpValue: 'unix:/path|host:port' }),
    ...gatewayFlags,
  };

  async run(): Promise<object | undefined> {
    const { flags } = await this.parse(S2ds);
    const loaded = await this.loadConfig('s2ds', flags);
    const { config, file } = loaded;
    const { name, listen } = config;
    const { checkDaemonConfig } = await import('@scistream/core/server');
    const { composeS2ds, loadedPlugins } = await import('../compose.js');
    const plugins = await loadedPlugins(this.config);
    // Also before a start: a restart must not accept a configuration that SIGHUP rejects.
    await checkDaemonConfig(config, plugins);
    if (flags.check) {
      this.log(`The configuration of s2ds ${name} on ${listen} is valid.`);
      return { valid: true, name, listen, ...(file !== undefined && { file }) };
    }
    const { createLog, reloader, runDaemon } = await import('../running.js');
    const { log, setLevel } = createLog(flags);
    setLevel(config.log);
    const server = composeS2ds(config, log, plugins);
    const reload = reloader(loaded, {
      changeable: ['log', 's2cs', 'tls'],
      load: () => this.loadConfig('s2ds', { ...flags, config: file ?? flags.config }),
      check: (next) => checkDaemonConfig(next, plugins),
      apply: async (next) => {
        await server.reload(next);
        setLevel(next.log);
        return {};
      },
      log,
    });
    await runDaemon(server, { release: flags['release-on-exit'], reload, log }, ({ address }) => {
      if (flags.json) printJson({ name, listen: address }, false);
      else this.log(`s2ds ${name} listens on ${address}`);
    });
    return undefined;
  }
}
