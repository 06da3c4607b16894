import { messageOf, S2DSException, systemCode } from '@scistream/core';
import type { Endpoint } from './endpoint.js';

/** The engine did not answer before the deadline. */
export class Late extends Error {}

/** HTTP status of an error answer. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

/** The message of the engine without the prefix of dockerode. */
export function reasonOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]* - /, '')
    .trim()
    .replace(/\.$/, '');
}

const SEE_LOG = 'See the log of the engine: journalctl -u docker';
const TLS = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|HOSTNAME_MISMATCH|EPROTO)/;

/** Explains why an engine could not be reached, with suggestions; for errors without an HTTP status. */
export function unreachable(endpoint: Endpoint, cause: unknown): S2DSException {
  const [why, ...suggestions] = explain(endpoint, cause);
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', `${why} (${endpoint.text}, from ${endpoint.source}).`, {
    cause,
    suggestions,
  });
}

function explain({ transport, path = '', host = '' }: Endpoint, error: unknown): readonly [string, ...string[]] {
  const code = systemCode(error) ?? '';
  const message = messageOf(error);
  if (error instanceof Late) return [message, SEE_LOG];
  if (transport === 'ssh')
    return [`The engine cannot be reached by ssh: ${message}`, `Try: ssh ${host} docker version`];
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return [
      `The socket ${path} does not exist`,
      'Install and start an engine: apt-get install docker.io (or podman), systemctl start docker',
      'Or set its socket: runtimes.dockersock.socket, or DOCKER_HOST for the runtime docker',
    ];
  if (code === 'ECONNREFUSED' && transport === 'unix')
    return [`The engine does not listen on the socket ${path}`, 'Start it: systemctl start docker'];
  if (code === 'ECONNREFUSED')
    return ['The engine refused the connection', 'Check that it runs and listens at this address: docker -H … version'];
  if (code === 'EACCES' || code === 'EPERM')
    return [
      `The daemon has no permission to use the socket ${path}`,
      'Add its user to the group docker (usermod -aG docker USER), then restart the daemon',
    ];
  if (TLS.test(code))
    return [`The TLS connection to the engine failed: ${message}`, 'Check runtimes.docker.tls or DOCKER_CERT_PATH'];
  if (code.startsWith('HPE_'))
    return [
      'The server is not a Docker engine',
      'Check the path or address',
      'Set runtimes.docker.tls if the port uses TLS',
    ];
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return [`The host name ${host} cannot be resolved`, 'Check its spelling'];
  if (code === 'ECONNRESET' && transport === 'tcp')
    return [
      `The server closed the connection: ${message}`,
      'If the engine uses TLS, check the client certificate: runtimes.docker.tls or DOCKER_CERT_PATH',
    ];
  return [`The connection to the engine failed: ${message}`, SEE_LOG];
}

/** A server answered that is not a supported engine. */
export function notAnEngine(endpoint: Endpoint, what: string): S2DSException {
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', `${what} (${endpoint.text}, from ${endpoint.source}).`, {
    suggestions: ['Set the path or address of a Docker or Podman engine.'],
  });
}

/** The operation of the runtime failed. */
export function failed(what: string, cause?: unknown, suggestions: readonly string[] = []): S2DSException {
  const why = cause === undefined ? '' : `: ${reasonOf(cause)}`;
  const space =
    systemCode(cause) === 'ENOSPC' ? ['Free space on the disk that holds the directory of the key state.'] : [];
  const more = [...space, ...suggestions];
  return new S2DSException('SCI_RUNTIME_FAILED', `${what}${why}.`, {
    cause,
    suggestions: more.length > 0 ? more : [SEE_LOG],
  });
}
