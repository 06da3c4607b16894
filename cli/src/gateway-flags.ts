import { Flags } from '@oclif/core';

/** Flag of both daemons. */
export const releaseFlag = Flags.boolean({
  summary: 'release all streams on exit; default: streams keep running and the next start recovers them',
});

/** Flags of both daemons that override keys of the gateway configuration. */
export const gatewayFlags = {
  wan: Flags.string({ summary: 'bind address of inbound listeners', helpValue: 'IP' }),
  lan: Flags.string({ summary: 'bind address of outbound listeners', helpValue: 'IP' }),
  ports: Flags.string({ summary: 'port range of listeners', helpValue: 'first-last' }),
  proxy: Flags.string({ summary: 'default proxy; see `scistream proxies`' }),
  runtime: Flags.string({ summary: 'default runtime; see `scistream runtimes`' }),
  state: Flags.string({ summary: 'state directory of the daemon', helpValue: 'DIR' }),
};
