import { Flags } from '@oclif/core';
import { formatAddress } from '@scistream/core';
import { BaseCommand } from '../base-command.js';
import { gatewayFlags, releaseFlag } from '../gateway-flags.js';
import { printJson } from '../output.js';

export default class S2cs extends BaseCommand {
  static override summary = 'run the control server of a facility';
  static override description =
    'Every flag except --check and --release-on-exit overrides a configuration key. It can also be set as an environment variable: SCISTREAM_ and the name of the flag.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --config s2cs.conf',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --check',
    '<%= config.bin %> <%= command.id %> --facility aps --wan 203.0.113.10 --lan 10.0.1.254 --ports 5100-5200',
  ];
  static override flags = {
    check: Flags.boolean({ summary: 'validate the configuration and exit' }),
    'release-on-exit': releaseFlag,
    facility: Flags.string({ summary: 'name of the facility' }),
    listen: Flags.string({ summary: 'listen address of the control server', helpValue: 'host:port' }),
    ...gatewayFlags,
    insecure: Flags.boolean({ summary: 'serve plain text instead of TLS', allowNo: true }),
    encryption: Flags.string({
      summary: 'whether streams must be encrypted when no policy is configured',
      helpValue: 'required|optional',
    }),
    'tls-cert': Flags.string({ summary: 'certificate chain (PEM)', helpValue: 'FILE' }),
    'tls-key': Flags.string({ summary: 'key of the certificate (PEM)', helpValue: 'FILE' }),
  };

  async run(): Promise<object | undefined> {
    const { flags } = await this.parse(S2cs);
    const loaded = await this.loadConfig('s2cs', flags);
    const { config, file } = loaded;
    const { facility, insecure } = config;
    const { checkDaemonConfig } = await import('@scistream/core/server');
    const { composeControlServer, loadedPlugins } = await import('../compose.js');
    const plugins = await loadedPlugins(this.config);
    // Also before a start: a restart must not accept a configuration that SIGHUP rejects.
    await checkDaemonConfig(config, plugins);
    if (flags.check) {
      this.log(`The configuration of s2cs ${facility} on ${formatAddress(config.listen)} is valid.`);
      return { valid: true, facility, listen: formatAddress(config.listen), ...(file !== undefined && { file }) };
    }
    const { createLog, reloader, runDaemon } = await import('../running.js');
    const { log, setLevel } = createLog(flags);
    setLevel(config.log);
    const server = composeControlServer(config, log, plugins);
    const reload = reloader(loaded, {
      changeable: ['auth', 'audit', 'encryption', 'limits', 'log', 'minTls', 'policy', 'tls'],
      load: () => this.loadConfig('s2cs', { ...flags, config: file ?? flags.config }),
      check: (next) => checkDaemonConfig(next, plugins),
      apply: async (next) => {
        const fingerprint = await server.reload(next);
        setLevel(next.log);
        return { fingerprint };
      },
      log,
    });
    await runDaemon(server, { release: flags['release-on-exit'], reload, log }, ({ address, fingerprint }) => {
      if (flags.json) printJson({ facility, listen: address, fingerprint, insecure }, false);
      else
        this.log(`s2cs ${facility} listens on ${address} (${fingerprint ? `fingerprint ${fingerprint}` : 'no TLS'})`);
    });
    return undefined;
  }
}
