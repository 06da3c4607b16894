import { messageOf, S2DSException, systemCode } from '@scistream/core';
import type { Endpoint } from './endpoint.js';

/** The engine did not answer in the time a call may take. */
export class Late extends Error {}

/** The status of an answer that is an error. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

/** What the engine said, without what dockerode puts around it. */
export function reasonOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]* - /, '')
    .trim()
    .replace(/\.$/, '');
}

const TLS = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|HOSTNAME_MISMATCH|EPROTO)/;

/** Why an engine that gave no answer gave none, and what to do: for errors without an HTTP status. */
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
  if (error instanceof Late) return [message, 'See the log of the engine: journalctl -u docker'];
  if (transport === 'ssh') return [`No way to the engine by ssh: ${message}`, `ssh ${host} docker version`];
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return [
      `There is no socket ${path}`,
      'Install an engine: apt-get install docker.io (or podman), and start it: systemctl start docker',
      'Or name the socket it has: runtimes.dockersock.socket, or DOCKER_HOST for the runtime docker',
    ];
  if (code === 'ECONNREFUSED' && transport === 'unix')
    return [`Nobody listens at the socket ${path}: the engine does not run`, 'systemctl start docker'];
  if (code === 'ECONNREFUSED') return [`No engine listens there: connection refused`, `docker -H … version`];
  if (code === 'EACCES' || code === 'EPERM')
    return [
      `The daemon may not use the socket ${path}`,
      'Add its user to the group that may: usermod -aG docker USER, then start the daemon again',
    ];
  if (TLS.test(code))
    return [`No secure connection to the engine: ${message}`, 'Check runtimes.docker.tls or DOCKER_CERT_PATH'];
  if (code.startsWith('HPE_'))
    return [
      'What answers there is no Docker engine',
      'Check the path or address',
      'A port with TLS needs certificates',
    ];
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return [`The name ${host} cannot be resolved`, 'Check its spelling'];
  if (code === 'ECONNRESET' && transport === 'tcp')
    return [
      `What listens there ends the connection: ${message}`,
      'An engine with TLS does so to who has no certificate it trusts: check runtimes.docker.tls or DOCKER_CERT_PATH',
    ];
  return [`The connection to the engine failed: ${message}`, 'See the log of the engine: journalctl -u docker'];
}

/** Something answers that is not an engine we know. */
export function notAnEngine(endpoint: Endpoint, what: string): S2DSException {
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', `${what} (${endpoint.text}, from ${endpoint.source}).`, {
    suggestions: ['Check the path or address: it must be that of a Docker or Podman engine.'],
  });
}

/** The runtime could not do what it was asked for. */
export function failed(what: string, cause?: unknown, suggestions: readonly string[] = []): S2DSException {
  const why = cause === undefined ? '' : `: ${reasonOf(cause)}`;
  const space = systemCode(cause) === 'ENOSPC' ? ['Free some space on the disk that holds the key state.'] : [];
  const more = [...space, ...suggestions];
  return new S2DSException('SCI_RUNTIME_FAILED', `${what}${why}.`, {
    cause,
    suggestions: more.length > 0 ? more : ['See the log of the engine: journalctl -u docker'],
  });
}
