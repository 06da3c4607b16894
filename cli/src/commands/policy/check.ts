import { Flags } from '@oclif/core';
import { formatAddress, type Identity } from '@scistream/core';
import type { Action, Granted, Policy } from '@scistream/core/server';
import { BaseCommand } from '../../base-command.js';

const ACTIONS = ['request', 'hello', 'update', 'release', 'view'] as const;

export default class PolicyCheck extends BaseCommand {
  static override summary = 'say what the rules of a control server decide, and which of them';
  static override description =
    'Nothing is asked of a running control server; names are resolved on this machine. A request with --target is the request and the update that would follow it. Ends with 0 when it is allowed, 6 when not.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --as token:alice --role inbound --target detector.example:5001',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --as token:alice --encryption none --json',
  ];
  static override flags = {
    as: Flags.string({ summary: 'who asks', helpValue: 'issuer:subject', required: true }),
    group: Flags.string({ summary: 'a group of the caller; may be repeated', multiple: true }),
    admin: Flags.boolean({ summary: 'the caller is an admin' }),
    action: Flags.option({ options: ACTIONS, default: 'request' as const, summary: 'what is asked for' })(),
    role: Flags.option({
      options: ['inbound', 'outbound', 'PROD', 'CONS'] as const,
      default: 'inbound' as const,
      summary: 'side of the stream',
    })(),
    gateway: Flags.string({ summary: 'gateway; default: the first of the configuration' }),
    proxy: Flags.string({ summary: 'proxy; default: that of the gateway' }),
    runtime: Flags.string({ summary: 'runtime; default: that of the gateway' }),
    encryption: Flags.option({
      options: ['tls', 'none'] as const,
      default: 'tls' as const,
      summary: 'of the stream',
    })(),
    connections: Flags.integer({ summary: 'how many connections', default: 1, min: 1 }),
    rate: Flags.string({ summary: 'rate, for example 20Gbps' }),
    lifetime: Flags.string({ summary: 'lifetime, for example 8h' }),
    streams: Flags.integer({ summary: 'streams the caller has already', default: 0, min: 0 }),
    source: Flags.string({
      summary: 'with --action update: network from which the stream accepts connections; may be repeated',
      helpValue: 'network',
      multiple: true,
    }),
    target: Flags.string({ summary: 'a target; may be repeated', helpValue: 'host:port', multiple: true }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(PolicyCheck);
    const { config } = await this.loadConfig('s2cs', { config: flags.config });
    const { loadedPlugins, policyOf } = await import('../../compose.js');
    const { actionOf, identityOf } = await import('../../policy-question.js');
    const policy: Policy = policyOf(config, await loadedPlugins(this.config));
    await policy.load?.();
    const identity = identityOf(flags, config);
    const first = await decision(policy, identity, actionOf(flags, config));
    const then =
      flags.action === 'request' && flags.target
        ? await decision(policy, identity, actionOf({ ...flags, ...made(first), action: 'update' }, config))
        : undefined;
    const rules = [...new Set([first, then].flatMap((granted) => granted?.rule?.split(',') ?? []))];
    const targets = ((then ?? first).targets ?? []).map(formatAddress);
    this.log(
      rules.length > 0
        ? `${flags.as} may: allowed by ${rules.join(', ')}.`
        : `${flags.as} may: ${config.policy === undefined ? 'there is no policy' : 'admins may see and release all'}.`,
    );
    if (targets.length > 0) this.log(`In force would be ${targets.join(', ')}.`);
    const { lifetimeMs, sources } = first;
    if (sources) this.log(`Connections would be accepted from ${sources.join(', ')}.`);
    const more = { ...(lifetimeMs && { lifetimeMs }), ...(sources && { sources }) };
    return { allowed: true, as: flags.as, action: flags.action, rules, targets, ...more };
  }
}

/** With all that only the operator is told, who asks here. */
async function decision(policy: Policy, identity: Identity, action: Action): Promise<Granted> {
  const { Refusal } = await import('@scistream/core/server');
  return await policy.check(identity, action).catch((error: unknown) => {
    throw error instanceof Refusal ? error.forOperator() : error;
  });
}

/** The record of a stream has what was granted. */
const made = ({ proxy, runtime, lifetimeMs, sources }: Granted) => ({
  ...(proxy !== undefined && { proxy }),
  ...(runtime !== undefined && { runtime }),
  ...(lifetimeMs !== undefined && { lifetime: `${lifetimeMs}ms` }),
  ...(sources !== undefined && { source: sources }),
});
