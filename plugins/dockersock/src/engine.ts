import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { formatDuration, messageOf, SciStreamError, type Advice, type Logger } from '@scistream/core';
import type { Endpoint } from './endpoint.js';
import { Late, notAnEngine, statusOf, unreachable } from './errors.js';
import { SshAgent } from './ssh-agent.js';

/** Limit of a call that costs the engine little, ms. */
const CALL_MS = 60_000;
/** Docker 19.03; Podman reports 1.40 or 1.41. */
const OLDEST_API = [1, 40] as const;

/** Differences between engines. */
export interface EngineFacts {
  readonly podman: boolean;
  /** Runs in a user namespace, in which the daemon's user has the id 0. */
  readonly rootless: boolean;
  /** Has an init program, which forwards signals and reaps orphaned processes. */
  readonly init: boolean;
  /** Containers keep running while the engine restarts. */
  readonly survivesRestart: boolean;
}

/** A connection to an engine through the Docker API. Calls fail with SCI_RUNTIME_UNREACHABLE or a dockerode error. */
export class Engine {
  readonly #find: () => Endpoint;
  readonly #log: Logger;
  readonly #stopped: AbortSignal | undefined;
  #connection: { readonly docker: Docker; readonly endpoint: Endpoint } | undefined;
  #facts: Promise<EngineFacts> | undefined;
  #warned = false;

  /**
   * @param find Finds the engine; called until it succeeds.
   * @param stopped Aborts pending calls.
   */
  constructor(find: () => Endpoint, log: Logger, stopped?: AbortSignal) {
    this.#find = find;
    this.#log = log;
    this.#stopped = stopped;
  }

  /** Calls the engine. After `limitMs` the call fails and the signal of `work` is aborted. */
  async call<T>(work: (docker: Docker, signal: AbortSignal) => Promise<T>, limitMs = CALL_MS): Promise<T> {
    const { docker, endpoint } = this.#connect();
    const given = new AbortController();
    const late = new Promise<never>((_, reject) => {
      given.signal.addEventListener('abort', () => reject(given.signal.reason as Error), { once: true });
    });
    const stop = (): void => given.abort(this.#stopped?.reason);
    this.#stopped?.addEventListener('abort', stop, { once: true });
    const timer = setTimeout(
      () => given.abort(new Late(`The engine did not answer within ${formatDuration(limitMs)}`)),
      limitMs,
    );
    try {
      return await Promise.race([work(docker, given.signal), late]);
    } catch (error) {
      if (statusOf(error) !== undefined || SciStreamError.is(error)) throw error;
      throw unreachable(endpoint, given.signal.aborted ? given.signal.reason : error);
    } finally {
      clearTimeout(timer);
      this.#stopped?.removeEventListener('abort', stop);
    }
  }

  /** Kind of engine; queried once. */
  async facts(): Promise<EngineFacts> {
    const facts = (this.#facts ??= this.#ask());
    try {
      return await facts;
    } catch (error) {
      this.#facts = undefined;
      throw error;
    }
  }

  /**
   * Queries the engine again, and warns once about missing features. @throws SCI_RUNTIME_UNREACHABLE with suggestions
   */
  async ping(): Promise<void> {
    this.#facts = undefined;
    const facts = await this.facts();
    if (this.#warned) return;
    this.#warned = true;
    for (const { message, suggestions } of adviceOn(facts)) this.#log.warn({}, [message, ...suggestions].join(' '));
  }

  async #ask(): Promise<EngineFacts> {
    const { endpoint } = this.#connect();
    const [version, info] = await this.call(async (docker, abortSignal) => {
      const asked = docker as unknown as Asked;
      return await Promise.all([asked.version({ abortSignal }), asked.info({ abortSignal })]);
    }).catch((error: unknown) => {
      if (statusOf(error) === undefined) throw error;
      throw notAnEngine(endpoint, `The server is not a supported engine: ${messageOf(error).trim()}`);
    });
    const { ApiVersion: api } = version;
    if (typeof api !== 'string' || typeof info.ServerVersion !== 'string')
      throw notAnEngine(endpoint, 'The server is not a Docker engine');
    if (isOlder(api)) {
      throw notAnEngine(endpoint, `The engine is too old: it has API ${api}, and ${OLDEST_API.join('.')} is required`);
    }
    const podman = version.Components?.some(({ Name }) => Name.startsWith('Podman')) ?? false;
    return {
      podman,
      rootless: info.SecurityOptions?.some((option) => option.includes('rootless')) ?? false,
      init: podman || info.InitCommit?.ID !== 'N/A',
      survivesRestart: podman || info.LiveRestoreEnabled === true,
    };
  }

  #connect(): { readonly docker: Docker; readonly endpoint: Endpoint } {
    if (this.#connection) return this.#connection;
    const endpoint = this.#find();
    try {
      return (this.#connection = { endpoint, docker: new Docker(dockerOptions(endpoint)) });
    } catch (error) {
      throw unreachable(endpoint, error);
    }
  }
}

/** The calls as dockerode implements them; its types lack the options. */
interface Asked {
  version(options: { readonly abortSignal: AbortSignal }): Promise<Partial<Docker.DockerVersion>>;
  info(options: { readonly abortSignal: AbortSignal }): Promise<Partial<Info>>;
}

interface Info {
  readonly ServerVersion: string;
  readonly SecurityOptions: readonly string[];
  readonly InitCommit: { readonly ID: string };
  readonly LiveRestoreEnabled: boolean;
}

/** Missing features of an engine that affect streams. */
export function adviceOn({ survivesRestart, init }: EngineFacts): readonly Advice[] {
  const restart: Advice = {
    level: 'warning',
    message: 'Streams end when the engine restarts.',
    suggestions: ['Set "live-restore": true in /etc/docker/daemon.json, then: systemctl reload docker'],
  };
  const reaper: Advice = {
    level: 'warning',
    message: 'The engine has no docker-init, so orphaned processes of proxies are not reaped.',
    suggestions: ['Install it: apt-get install tini'],
  };
  return [...(survivesRestart ? [] : [restart]), ...(init ? [] : [reaper])];
}

function isOlder(api: string): boolean {
  const [major = 0, minor = 0] = api.split('.').map(Number);
  return major < OLDEST_API[0] || (major === OLDEST_API[0] && minor < OLDEST_API[1]);
}

/**
 * Sets every key, because dockerode takes missing ones from the environment. Connections are not kept alive: after a
 * restart of the engine they would be dead, and requests on them would fail.
 */
function dockerOptions({ transport, path, host, port, tls, ...rest }: Endpoint): Docker.DockerOptions {
  const plain = brief(new Agent({ keepAlive: false }));
  const base = {
    pathPrefix: '/',
    protocol: 'http' as 'http' | 'https',
    headers: {},
    sshOptions: {},
    username: undefined,
    timeout: undefined,
    host: undefined,
    port: undefined,
    socketPath: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  };
  if (transport === 'unix') return Object.assign(base, { socketPath: path, agent: plain });
  if (transport === 'ssh') {
    const agent = brief(new SshAgent({ transport, ...(host ? { host } : {}), ...(port ? { port } : {}), ...rest }));
    return Object.assign(base, { host: 'engine', port: 80, agent });
  }
  if (!tls) return Object.assign(base, { host, port, agent: plain });
  const agent = brief(new SecureAgent({ keepAlive: false }));
  return Object.assign(base, { host, port, protocol: 'https' as const, agent, ...tls });
}

/**
 * docker-modem 5.0 formats every request for its debug log, even if that is off, and reaches all open connections
 * through the agent. With fifty containers that dominates the CPU time of a daemon.
 */
const brief = <A extends Agent>(agent: A): A => Object.assign(agent, { [inspect.custom]: () => 'Agent' });
