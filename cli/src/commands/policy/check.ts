import { Flags } from '@oclif/core';
import { addressesOf, formatAddress } from '@scistream/core';
import type { Granted } from '@scistream/core/server';
import { BaseCommand } from '../../base-command.js';

const ACTIONS = ['request', 'hello', 'update', 'release', 'view'] as const;

export default class PolicyCheck extends BaseCommand {
  static override summary = 'show what the policy of a control server decides and by which rules';
  static override description =
    'Evaluates the configuration without a running control server; host names are resolved on this machine. A request with --target checks the request and the update that follows it. Exits with 0 when the action is allowed, with 6 when it is denied.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --as token:alice --role inbound --target detector.example:5001',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --as token:alice --encryption none --json',
  ];
  static override flags = {
    as: Flags.string({ summary: 'identity of the caller', helpValue: 'issuer:subject', required: true }),
    group: Flags.string({ summary: 'group of the caller; may be repeated', multiple: true }),
    admin: Flags.boolean({ summary: 'treat the caller as an admin' }),
    action: Flags.option({ options: ACTIONS, default: 'request' as const, summary: 'action to check' })(),
    role: Flags.option({
      options: ['inbound', 'outbound', 'PROD', 'CONS'] as const,
      default: 'inbound' as const,
      summary: 'side of the stream',
    })(),
    gateway: Flags.string({ summary: 'gateway; default: the first configured gateway' }),
    proxy: Flags.string({ summary: 'proxy; default: the proxy of the gateway' }),
    runtime: Flags.string({ summary: 'runtime; default: the runtime of the gateway' }),
    encryption: Flags.option({
      options: ['tls', 'none'] as const,
      default: 'tls' as const,
      summary: 'encryption of the stream',
    })(),
    connections: Flags.integer({ summary: 'number of connections', default: 1, min: 1 }),
    rate: Flags.string({ summary: 'rate, for example 20Gbps' }),
    lifetime: Flags.string({ summary: 'lifetime, for example 8h' }),
    streams: Flags.integer({ summary: 'number of streams the caller already has', default: 0, min: 0 }),
    source: Flags.string({
      summary: 'with --action update: source network of the stream; may be repeated',
      helpValue: 'network',
      multiple: true,
    }),
    target: Flags.string({ summary: 'target of the stream; may be repeated', helpValue: 'host:port', multiple: true }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(PolicyCheck);
    const { config } = await this.loadConfig('s2cs', { config: flags.config });
    const { loadPolicy } = await import('@scistream/core/server');
    const { loadedPlugins } = await import('../../compose.js');
    const { actionOf, identityOf } = await import('../../policy-question.js');
    const decide = await loadPolicy(config, await loadedPlugins(this.config));
    const identity = identityOf(flags, config);
    const first = await decide(identity, actionOf(flags, config));
    const then =
      flags.action === 'request' && flags.target
        ? await decide(identity, actionOf({ ...flags, ...made(first), action: 'update' }, config))
        : undefined;
    const rules = [...new Set([first, then].flatMap((granted) => granted?.rule?.split(',') ?? []))];
    const found = (then ?? first).targets ?? [];
    const targets = found.map(formatAddress);
    const fallbacks = found.some((target) => target.fallbacks) && found.map((target) => target.fallbacks ?? []);
    this.log(
      rules.length > 0
        ? `${flags.as} is allowed by ${rules.join(', ')}.`
        : `${flags.as} is allowed: ${config.policy === undefined ? 'there is no policy' : 'admins may view and release all streams'}.`,
    );
    if (targets.length > 0)
      this.log(
        `Resulting targets: ${found.map((target) => addressesOf(target).map(formatAddress).join(' or ')).join(', ')}.`,
      );
    const { lifetimeMs, sources } = first;
    if (sources) this.log(`Connections are accepted from ${sources.join(', ')}.`);
    const more = { ...(fallbacks && { fallbacks }), ...(lifetimeMs && { lifetimeMs }), ...(sources && { sources }) };
    return { allowed: true, as: flags.as, action: flags.action, rules, targets, ...more };
  }
}

/** The values that a grant adds to the record of the stream. */
const made = ({ proxy, runtime, lifetimeMs, sources }: Granted) => ({
  ...(proxy !== undefined && { proxy }),
  ...(runtime !== undefined && { runtime }),
  ...(lifetimeMs !== undefined && { lifetime: `${lifetimeMs}ms` }),
  ...(sources !== undefined && { source: sources }),
});
