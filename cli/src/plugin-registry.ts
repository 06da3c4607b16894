import { SciStreamError } from '@scistream/core';

/** The result of an npm command. `timedOut`: it was ended after its deadline. */
export interface NpmOutput {
  readonly ok: boolean;
  readonly output: string;
  readonly timedOut?: boolean;
}

/** Runs npm with these arguments in the plugin folder, at most `timeoutMs`. */
type Npm = (args: readonly string[], timeoutMs?: number) => Promise<NpmOutput>;

/** Deadline for the answer of the registry, ms. Includes the start of npm, about 1 s. */
const ANSWER_MS = 10_000;
/** Errors of npm that mean no answer. A status such as E404 is an answer: not every registry offers ping. */
const NO_ANSWER =
  /npm error (?:code|errno) (ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EPROTO|EPIPE|EIDLETIMEOUT|ERR_SOCKET_TIMEOUT|ERR_INVALID_URL|\w*CERT\w*|UNABLE_TO_\w+)/;

/** A registry without an answer. */
export interface Unreachable {
  /** host or host:port, as the user configured it. */
  readonly host: string;
  /** Error code of npm, or the deadline. */
  readonly reason: string;
}

/**
 * Asks the registry of a package for an answer, with the npm settings of the user.
 * @param what What is to be installed; its scope selects the registry.
 * @returns undefined if the registry answers
 */
export async function unreachableRegistry(what: string, npm: Npm): Promise<Unreachable | undefined> {
  const own = process.env['SCISTREAM_NPM_REGISTRY'] || (await registryOfScope(what, npm));
  const args = ['ping', '--loglevel=notice', '--fetch-retries=0', ...(own ? [`--registry=${own}`] : [])];
  const { ok, output, timedOut } = await npm(args, ANSWER_MS);
  const reason = timedOut ? `no answer within ${ANSWER_MS / 1000} s` : ok ? undefined : NO_ANSWER.exec(output)?.[1];
  if (reason === undefined) return undefined;
  // Only the host: the address may contain a password.
  const url = /npm notice PING (\S+)/.exec(output)?.[1] ?? '';
  return { host: URL.canParse(url) ? new URL(url).host : 'of the configuration', reason };
}

/** Address of the registry for the scope of a package, if the configuration of npm has one. */
async function registryOfScope(what: string, npm: Npm): Promise<string | undefined> {
  const scope = /^(@[^/]+)\//.exec(what)?.[1];
  if (scope === undefined) return undefined;
  const { ok, output } = await npm(['config', 'get', `${scope}:registry`], ANSWER_MS);
  const value = output.trim();
  return ok && URL.canParse(value) ? value : undefined;
}

/** SCI_PLUGIN_INSTALL_FAILED for an unreachable registry. */
export function registryError(what: string, { host, reason }: Unreachable): SciStreamError {
  const message = `Cannot install ${what}: the npm registry ${host} does not answer (${reason}).`;
  return new SciStreamError('SCI_PLUGIN_INSTALL_FAILED', message, {
    suggestions: [
      'Check the address and the proxy: npm config get registry, npm config get https-proxy',
      'Or install from a file: scistream plugin install ./plugin.tgz',
    ],
  });
}
