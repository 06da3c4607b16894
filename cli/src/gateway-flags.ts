import { Flags } from '@oclif/core';

/** Flag of both daemons about their end. */
export const releaseFlag = Flags.boolean({
  summary: 'release every stream at the end; without it they go on, and the next start takes charge of them',
});

/** Flags of both daemons that override the keys of the gateway. */
export const gatewayFlags = {
  wan: Flags.string({ summary: 'address inbound (PROD) listeners bind', helpValue: 'IP' }),
  lan: Flags.string({ summary: 'address outbound (CONS) listeners bind', helpValue: 'IP' }),
  ports: Flags.string({ summary: 'ports for listeners', helpValue: 'first-last' }),
  proxy: Flags.string({ summary: 'proxy of streams that ask for none; see `scistream proxies`' }),
  runtime: Flags.string({ summary: 'where proxies run; see `scistream runtimes`' }),
  state: Flags.string({ summary: 'directory of the daemon', helpValue: 'DIR' }),
};
