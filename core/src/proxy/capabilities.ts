import { S2DSException } from '../contracts/errors.js';
import type { S2DSCapabilities, S2DSRequest } from '../contracts/s2ds.js';

/**
 * Checks a stream against the capabilities of a proxy.
 * @param proxy Name of the proxy, for the message.
 * @throws SCI_PROXY_UNSUPPORTED with the missing feature
 */
export function mustSupport(
  proxy: string,
  supports: S2DSCapabilities,
  { spec, tls }: Pick<S2DSRequest, 'spec' | 'tls'>,
): void {
  const { transport, sources } = spec;
  const unsupported = (what: string, suggestion: string): S2DSException =>
    new S2DSException('SCI_PROXY_UNSUPPORTED', `Proxy ${proxy} ${what}.`, { suggestions: [suggestion] });
  if (!supports[transport]) {
    throw unsupported(`cannot carry ${transport.toUpperCase()}`, 'Use --proxy relay, which carries TCP and UDP.');
  }
  if (tls && (!supports.tls || transport === 'udp')) {
    throw unsupported(
      `cannot encrypt ${transport.toUpperCase()}`,
      'Use --encryption none, if both facilities allow it.',
    );
  }
  if (sources && !supports.sources) {
    throw unsupported(
      `cannot restrict connections to ${sources.join(', ')}`,
      'The policy of this facility requires it: use --proxy relay, haproxy or nginx in a runtime with host networking.',
    );
  }
  if (!tls && supports.plain === false) {
    throw unsupported('carries only encrypted streams', 'Use --encryption tls, or another proxy.');
  }
}
