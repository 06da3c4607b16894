import { quote, type ProxyView } from '@scistream/core';
import { CIPHERS, PREFERRED, serversOf, type BackendServer } from './render.js';
import { commandFailed, isRetargeted } from './runtime-socket.js';

/** Sends a command to the runtime API and returns the reply. */
type Ask = (words: readonly string[]) => Promise<string>;

/** Names of the servers of each backend, by the name of the backend. */
export type KnownServers = ReadonlyMap<string, Set<string>>;

/** Parses the reply to `show servers state`: a version, a header, and one line per server. */
export function parseServers(reply: string): KnownServers {
  const known = new Map<string, Set<string>>();
  for (const line of reply.split('\n')) {
    const [id = '', backend, , server] = line.split(' ');
    if (!/^\d+$/.test(id) || backend === undefined || server === undefined) continue;
    known.set(backend, (known.get(backend) ?? new Set()).add(server));
  }
  return known;
}

/**
 * Sets the servers of backend i for the target of listener i. Adds servers for further addresses. Servers that are no
 * longer used stay in maintenance, because HAProxy does not delete one that has connections.
 * @param known Servers of the backend. Added ones are added here.
 * @throws S2DSException SCI_PROXY_COMMAND_FAILED
 */
export async function retargetBackend(ask: Ask, view: ProxyView, i: number, known: Set<string>): Promise<void> {
  const send = async (words: readonly string[], accepted: (reply: string) => boolean): Promise<void> => {
    const reply = await ask(words);
    if (!accepted(reply)) throw commandFailed(words, `the reply was ${quote(reply)}`);
  };
  const path = (name: string): string => `b${i}/${name}`;
  const servers = serversOf(view, i);
  for (const server of servers) {
    const { name, address } = server;
    // The template declares the servers of the preferred address.
    if (known.has(name) || server.weight === PREFERRED) {
      const command = ['set', 'server', path(name), 'addr', address.host, 'port', String(address.port)];
      await send(command, isRetargeted);
    } else {
      await send(
        ['add', 'server', path(name), ...settings(server, view)],
        (reply) => reply === 'New server registered.',
      );
      known.add(name);
    }
  }
  if (known.size <= 1) return;
  const used = new Set(servers.flatMap(({ name, disabled }) => (disabled ? [] : name)));
  const setState = (name: string, state: string): Promise<void> =>
    send(['set', 'server', path(name), 'state', state], (reply) => reply === '');
  // The servers in use first: without one, clients would be rejected.
  for (const name of used) await setState(name, 'ready');
  for (const name of known) if (!used.has(name)) await setState(name, 'maint');
}

/** The arguments of `add server`, which uses neither `default-server` nor brackets around IPv6. */
function settings({ address, weight, source }: BackendServer, { role, tls }: ProxyView): readonly string[] {
  return [
    `${address.host}:${address.port}`,
    ...['backup', 'weight', String(weight)],
    ...(source ? ['source', source] : []),
    ...(tls && role === 'outbound' ? secure(tls.peer) : []),
  ];
}

const secure = (peer: string): readonly string[] => [
  ...['ssl', 'crt', 'tls.pem', 'ca-file', 'ca.pem', 'verify', 'required', 'verifyhost', peer, 'sni', `str(${peer})`],
  ...['no-ssl-reuse', 'no-tls-tickets', 'ssl-min-ver', 'TLSv1.3', 'ciphersuites', CIPHERS],
];
