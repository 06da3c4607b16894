import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP, type Socket } from 'node:net';
import { formatAddress, isLoopback, type Address } from './address.js';
import { printableLine, reasonOf, SciStreamError } from './errors.js';

/** Maximum time until a proxy has opened a tunnel, ms. Shorter than the deadline of a call, which would hide the reason. */
const TUNNEL_MS = 8_000;

/** An HTTP proxy that the environment names. */
export interface HttpProxy {
  readonly url: URL;
  /** The variable that names it. */
  readonly variable: string;
}

/**
 * The HTTP proxy for TLS connections to an address: `https_proxy` or `HTTPS_PROXY`, unless `no_proxy` or `NO_PROXY` lists
 * the host. Lower case has precedence, as in curl. Loopback addresses need no proxy. An entry of NO_PROXY is `*`, a host,
 * a domain (`.example`, which includes `example`), an IP address or a network (`10.0.0.0/8`), each with or without a port.
 * @throws SCI_USAGE if the variable is not the address of an HTTP proxy. The text has no password.
 */
export function proxyFor(target: Address, env: NodeJS.ProcessEnv = process.env): HttpProxy | undefined {
  const variable = env['https_proxy'] ? 'https_proxy' : 'HTTPS_PROXY';
  const text = env[variable]?.trim();
  if (!text || isLoopback(target.host)) return undefined;
  const excluded = (env['no_proxy'] || env['NO_PROXY'] || '').split(/[\s,]+/).filter(Boolean);
  if (excluded.some((entry) => covers(entry.toLowerCase(), target))) return undefined;
  const address = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url && ['http:', 'https:'].includes(url.protocol) && isDecodable(url)) return { url, variable };
  throw new SciStreamError('SCI_USAGE', `The variable ${variable} is not the address of an HTTP proxy.`, {
    suggestions: [`Set ${variable}=http://host:port`, `For a direct connection: NO_PROXY=${target.host}`],
  });
}

function covers(entry: string, { host, port }: Address): boolean {
  // An IPv6 address with a port has brackets.
  const onPort = /(?:^[^:]*|\][^:]*):(\d+)$/.exec(entry)?.[1];
  if (onPort !== undefined && Number(onPort) !== port) return false;
  const name = (onPort === undefined ? entry : entry.slice(0, -onPort.length - 1)).replace(/[[\]]/g, '');
  if (name === '*') return true;
  if (isIP(host) !== 0) return inNetwork(name, host);
  const domain = name.replace(/^\*?\./, '');
  return host === domain || host.endsWith(`.${domain}`);
}

function inNetwork(entry: string, ip: string): boolean {
  const [network = '', prefix = isIP(network) === 6 ? '128' : '32'] = entry.split('/');
  if (isIP(network) !== isIP(ip) || !/^\d+$/.test(prefix)) return false;
  const family = isIP(ip) === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  try {
    list.addSubnet(network, Number(prefix), family);
  } catch {
    return false;
  }
  return list.check(ip, family);
}

/**
 * Opens a TCP connection to an address through a proxy (HTTP CONNECT, RFC 9110 section 9.3.6).
 * @throws ProxyError when the proxy does not answer within 8 s, or rejects the target
 */
export async function tunnel({ url, variable }: HttpProxy, target: Address): Promise<Socket> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const authority = formatAddress(target);
  const options: RequestOptions = {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port,
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...credentials(url) },
    agent: false,
  };
  const fail = (why: string): ProxyError => new ProxyError(`the proxy ${url.host} of ${variable} ${why}`);
  return await new Promise<Socket>((resolve, reject) => {
    const request = send(options);
    const timer = setTimeout(
      () => request.destroy(new Error(`does not answer within ${TUNNEL_MS / 1000} s`)),
      TUNNEL_MS,
    );
    request.once('close', () => clearTimeout(timer));
    request.once('error', (error) => reject(fail(`fails: ${printableLine(reasonOf(error))}`)));
    request.once('response', (response) => {
      request.destroy();
      reject(fail(`answers ${statusOf(response)}`));
    });
    request.once('connect', (response, socket, head) => {
      clearTimeout(timer);
      if (response.statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        return resolve(socket);
      }
      socket.destroy();
      reject(fail(`answers ${statusOf(response)}`));
    });
    request.end();
  });
}

/** Why a proxy opens no tunnel. Contains neither user nor password. */
export class ProxyError extends Error {}

const statusOf = ({ statusCode, statusMessage }: IncomingMessage): string =>
  printableLine(`${statusCode} ${statusMessage}`).trim();

/** Whether the user and the password are valid percent-encoded text. */
function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** Basic authentication, if the address of the proxy has a user. */
function credentials({ username, password }: URL): { readonly 'proxy-authorization'?: string } {
  if (username === '') return {};
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(text).toString('base64')}` };
}

/** Connects to an address: through the proxy of the environment, as an option for `tls.connect`; undefined: directly. */
export async function throughProxy(target: Address): Promise<Socket | undefined> {
  const proxy = proxyFor(target);
  return proxy && (await tunnel(proxy, target));
}
