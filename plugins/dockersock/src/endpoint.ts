import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { messageOf, quote, S2DSException } from '@scistream/core';

/** Location of an engine and how to reach it. */
export interface Endpoint {
  /** In the form of DOCKER_HOST, for messages. */
  readonly text: string;
  /** Where the location was found, for messages: an option, a variable or a context. */
  readonly source: string;
  readonly transport: 'unix' | 'tcp' | 'ssh';
  /** Path of a unix socket. */
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly tls?: TlsFiles;
}

/** Contents of the PEM files for mutual TLS. */
export interface TlsFiles {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Options of the runtime `docker` for its endpoint. */
export interface EndpointOptions {
  readonly host?: string | undefined;
  readonly context?: string | undefined;
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
}

const DEFAULT_HOST = 'unix:///var/run/docker.sock';

/**
 * Finds the engine like the `docker` command: the options, DOCKER_HOST, the context of DOCKER_CONTEXT or `config.json`,
 * or the default socket (https://docs.docker.com/engine/manage-resources/contexts/). Server certificates are always
 * verified.
 * @throws SCI_RUNTIME_UNREACHABLE if the chosen location does not exist or is invalid
 */
export function findEndpoint(options: EndpointOptions, env: NodeJS.ProcessEnv = process.env): Endpoint {
  const own = options.tls && readTls(options.tls, 'the option tls');
  if (options.host !== undefined) return parseHost(options.host, 'the option host', own ?? tlsOf(env));
  if (options.context !== undefined) return contextEndpoint(options.context, 'the option context', env, own);
  if (env.DOCKER_HOST) return parseHost(env.DOCKER_HOST, 'DOCKER_HOST', own ?? tlsOf(env));
  if (env.DOCKER_CONTEXT) return contextEndpoint(env.DOCKER_CONTEXT, 'DOCKER_CONTEXT', env, own);
  const current = currentContext(env);
  if (current !== undefined) return contextEndpoint(current, `${join(folderOf(env), 'config.json')}`, env, own);
  return parseHost(DEFAULT_HOST, 'the default', undefined);
}

/** The endpoint of a unix socket. */
export const socketEndpoint = (path: string): Endpoint => ({
  text: `unix://${path}`,
  source: 'the option socket',
  transport: 'unix',
  path,
});

const folderOf = (env: NodeJS.ProcessEnv): string => env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker');

function parseHost(text: string, source: string, tls: TlsFiles | undefined): Endpoint {
  if (text.startsWith('unix://') && text.length > 7) return { text, source, transport: 'unix', path: text.slice(7) };
  const url = URL.parse(text.includes('://') ? text : `tcp://${text}`);
  const scheme = url?.protocol.slice(0, -1) ?? '';
  if (!url?.hostname || url.password || !['tcp', 'http', 'https', 'ssh'].includes(scheme)) {
    throw unusable(`${quote(text.replace(/:[^:@/]*@/, ':…@'))} from ${source} is not an address of a Docker engine.`, [
      `Write unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host.`,
    ]);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const common = { text, source, host };
  const port = url.port ? { port: Number(url.port) } : {};
  if (scheme === 'ssh') {
    // ssh(1) would parse such a name as an option.
    if (host.startsWith('-') || url.username.startsWith('-'))
      throw unusable(`${quote(text)} is not a valid host for ssh.`, []);
    return {
      ...common,
      ...port,
      transport: 'ssh',
      ...(url.username ? { user: decodeURIComponent(url.username) } : {}),
    };
  }
  if (scheme === 'https' && !tls) {
    throw unusable(`${text} from ${source} needs certificates.`, [
      'Set runtimes.docker.tls to the files ca, cert and key, or DOCKER_CERT_PATH to their folder.',
    ]);
  }
  const secure = scheme === 'http' ? undefined : tls;
  return { ...common, port: 2375, ...(secure ? { port: 2376, tls: secure } : {}), ...port, transport: 'tcp' };
}

/** The certificates named by the environment; either variable enables TLS. */
function tlsOf(env: NodeJS.ProcessEnv): TlsFiles | undefined {
  if (!env.DOCKER_TLS_VERIFY && !env.DOCKER_CERT_PATH) return undefined;
  return readFolder(env.DOCKER_CERT_PATH || folderOf(env), 'DOCKER_CERT_PATH');
}

const readFolder = (folder: string, source: string): TlsFiles =>
  readTls({ ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }, source);

function readTls(paths: { ca: string; cert: string; key: string }, source: string): TlsFiles {
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (cause) {
      throw unusable(`Cannot read ${path} from ${source}: ${messageOf(cause)}.`, [], cause);
    }
  };
  return { ca: read(paths.ca), cert: read(paths.cert), key: read(paths.key) };
}

function currentContext(env: NodeJS.ProcessEnv): string | undefined {
  const config = readJson(join(folderOf(env), 'config.json'));
  const name = field(config, 'currentContext');
  return typeof name === 'string' && name !== '' && name !== 'default' ? name : undefined;
}

/** Reads a context from the folders named by the digest of its name. */
function contextEndpoint(name: string, source: string, env: NodeJS.ProcessEnv, own: TlsFiles | undefined): Endpoint {
  if (name === 'default') return parseHost(env.DOCKER_HOST || DEFAULT_HOST, 'the context default', own ?? tlsOf(env));
  const folder = join(folderOf(env), 'contexts');
  const digest = createHash('sha256').update(name).digest('hex');
  const meta = readJson(join(folder, 'meta', digest, 'meta.json'));
  const host = field(field(field(meta, 'Endpoints'), 'docker'), 'Host');
  if (typeof host !== 'string') {
    throw unusable(`The Docker context ${quote(name)} from ${source} does not exist.`, [
      'List the contexts: docker context ls',
    ]);
  }
  const certificates = join(folder, 'tls', digest, 'docker');
  const tls = existsSync(join(certificates, 'ca.pem')) ? readFolder(certificates, `the context ${name}`) : undefined;
  return parseHost(host, `the context ${name}`, own ?? tls);
}

/** Reads an optional JSON file. */
function readJson(path: string): unknown {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw unusable(`Cannot read ${path}: ${messageOf(cause)}.`, [`Repair ${path}, or set the option host.`], cause);
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function unusable(message: string, suggestions: readonly string[], cause?: unknown): S2DSException {
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', message, { suggestions, cause });
}
