import type { Duplex } from 'node:stream';
import {
  backOff,
  exitOf,
  LABELS,
  messageOf,
  S2DSException,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerSpec,
  type ContainerState,
  type ExecResult,
  type InstanceFiles,
  type Logger,
  type Placement,
} from '@scistream/core';
import { isGone, JanusConnection } from './connection.js';
import { JanusController } from './controller.js';
import { checkInstance, environmentOf, labelsOf } from './environment.js';
import { conflict, failed, imageNotFound } from './failures.js';
import { FileWriter } from './instance-files.js';
import type { JanusOptions } from './options.js';
import { Placements } from './placements.js';
import * as scripts from './scripts.js';
import * as sessions from './sessions.js';
import { PREFIX, profileOf, type Session } from './sessions.js';
import { Shell, type Container } from './shell.js';
import { untilEnded } from './watch.js';

const COMMAND_TIMEOUT_MS = 10_000;
const LOG_LINES = 10;
const GONE = 'its container does not run';
const SEE_LOGS = 'See the log of Janus. Use an image that has sh, base64, timeout, sleep and sha256sum.';
type Labels = ContainerSpec['labels'];

/**
 * Runs instances as sessions of an ESnet Janus controller. Each instance has one session and one host profile with its
 * name. `create` starts the session: its first process writes the files and waits, so that commands work from then on.
 * `start` lets that process run the program; it also records how the program ended. All state is found by name, so any
 * number of S2DS objects can use the same sessions.
 */
export class JanusRuntime implements ContainerRuntime {
  readonly id = 'janus';
  readonly supports = { inheritSockets: false, dial: false, images: true, hostNetwork: true };
  readonly #options: JanusOptions;
  readonly #log: Logger;
  readonly #connection: JanusConnection;
  readonly #controller: JanusController;
  readonly #shell: Shell;
  readonly #placements: Placements;
  readonly #files = new FileWriter();
  readonly #containers = new Map<string, Container>();
  readonly #labels = new Map<string, Labels>();
  /** Exit states of programs stopped by this object. Their containers no longer answer. */
  readonly #exits = new Map<string, string>();

  constructor(options: JanusOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
    this.#connection = new JanusConnection(options, log);
    this.#controller = new JanusController(this.#connection);
    this.#shell = new Shell(this.#controller, options.timeout);
    this.#placements = new Placements(this.#controller, options.nodes);
  }

  /** Closes the connections. Instances keep running. */
  async close(): Promise<void> {
    this.#connection.close();
  }

  async ping(): Promise<void> {
    await this.#controller.nodes();
  }

  async place(uid: string): Promise<Placement> {
    const start = `${PREFIX}${uid.slice(0, 8).toLowerCase()}`;
    return await this.#placements.place(uid, async (session) => {
      const name = profileOf(session) ?? '';
      return name.startsWith(start) && (await this.#labelsOf(name))[LABELS.uid] === uid;
    });
  }

  async create(spec: ContainerSpec): Promise<ContainerRef> {
    const { labels, files } = spec;
    const name = checkInstance(spec.name);
    const environment = environmentOf(labels, files);
    const uid = labels[LABELS.uid] ?? name;
    const node = spec.node ?? (await this.place(uid)).node;
    await this.#mustBeFree(spec);
    try {
      await this.#controller.putProfile(name, { ...this.#options.profile, volumes: [], environment });
      this.#labels.set(name, labels);
      this.#containers.set(name, await this.#open(spec, node));
      this.#files.know(name, files);
      this.#placements.began(uid, node);
    } catch (error) {
      await this.remove({ name }).catch((left: unknown) => {
        this.#log.error({ instance: name, error: messageOf(left) }, 'session could not be removed');
      });
      throw error;
    }
    return { name };
  }

  async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    const { executable, args, stopSignal } = spec;
    const command = `exec ${[executable, ...args].map(scripts.word).join(' ')}`;
    const started = await this.#script(ref, scripts.START, [executable, command, short(stopSignal)]);
    if (started.exitCode === 127) throw sessions.notInImage(executable);
    this.#log.debug({ instance: ref.name, executable }, 'instance started');
  }

  async stop(ref: ContainerRef, graceMs: number): Promise<void> {
    for (const session of await this.#controller.sessionsOf(ref.name)) await this.#stopSession(ref, session, graceMs);
  }

  async remove(ref: ContainerRef): Promise<void> {
    const { name } = ref;
    for (const { id } of await this.#controller.sessionsOf(ref.name)) await this.#controller.remove(id);
    const labels = await this.#labelsOf(name);
    // Remove the profile last: the labels of an existing session must be readable.
    await this.#controller.removeProfile(name);
    const container = this.#containers.get(name);
    if (container) this.#shell.forget(container);
    this.#placements.forget(labels[LABELS.uid] ?? name);
    this.#files.forget(name);
    this.#containers.delete(name);
    this.#labels.delete(name);
    this.#exits.delete(name);
  }

  async inspect(ref: ContainerRef): Promise<ContainerState> {
    const session = sessions.bestOf(await this.#controller.sessionsOf(ref.name));
    return session ? await this.#stateOf(ref, session) : { ...ref, status: 'absent', labels: {} };
  }

  async list(labels: Labels): Promise<readonly ContainerState[]> {
    const all = await this.#controller.sessions();
    const names = [...new Set(all.flatMap((session) => profileOf(session) ?? []))];
    const states = names.map(async (name) => {
      const session = sessions.bestOf(all.filter((other) => profileOf(other) === name));
      const carried = await this.#labelsOf(name);
      const asked = Object.entries(labels).every(([key, value]) => carried[key] === value);
      return session && asked ? [await this.#stateOf({ name }, session)] : [];
    });
    return (await Promise.all(states)).flat();
  }

  async logs(ref: ContainerRef, lines: number): Promise<string> {
    const container = this.#containers.get(ref.name) ?? (await this.#find(ref));
    if (!container) return '';
    const text = await this.#controller.logs(container.session, container.node, lines);
    return text.replaceAll('\r', '').trimEnd().split('\n').slice(-lines).join('\n');
  }

  async exec(ref: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const container = await this.#mustHave(ref);
    const result = await this.#explained(ref, this.#shell.run(container, command, timeoutMs));
    if (result.exitCode === 127) throw sessions.notInImage(command[0] ?? '');
    return result;
  }

  async putFiles(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    await this.#files.put(ref.name, files, (script, args) => this.#script(ref, script, args));
  }

  async signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    const { exitCode } = await this.#script(ref, scripts.SIGNAL, [short(signal)]);
    if (exitCode === 0) return;
    throw new S2DSException('SCI_PROXY_DIED', `${ref.name} is not running and cannot receive ${signal}.`);
  }

  async dial(ref: ContainerRef): Promise<Duplex> {
    throw failed(`Janus gives no access to sockets of ${ref.name}`, 'Use a proxy that works without a control socket.');
  }

  exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    return untilEnded(
      () => this.#look(ref, signal),
      this.#options.heartbeat,
      signal,
      (error) => this.#log.debug({ instance: ref.name, error: messageOf(error) }, 'cannot inspect instance'),
    );
  }

  /** Checks a program. The session is queried only if the container does not answer. */
  async #look(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    const container = this.#containers.get(ref.name);
    const program = container && (await this.#shell.status(container, 0, signal).catch(() => undefined));
    return program ? await this.#withLabels(ref, sessions.stateFrom(program)) : await this.inspect(ref);
  }

  async #mustBeFree({ name, labels }: ContainerSpec): Promise<void> {
    const [made, profile] = await Promise.all([this.#controller.sessionsOf(name), this.#controller.environment(name)]);
    // A crash during `create` leaves a profile without a session.
    const serverId = profile && labelsOf(profile)[LABELS.serverId];
    if (made.length === 0 && (!profile || serverId === labels[LABELS.serverId])) return;
    throw conflict(name);
  }

  /** Creates and starts the session and waits until its files are written. */
  async #open({ name, image }: ContainerSpec, node: string): Promise<Container> {
    const { retries, backOff: firstMs, maxBackOff } = this.#options;
    const wish = { node, image, profile: name, entrypoint: '/bin/sh', arguments: scripts.ENTRY_ARGUMENTS };
    const pauseMs = (failures: number): number | undefined =>
      failures > retries ? undefined : backOff(failures, firstMs, maxBackOff);
    const session = await this.#controller.start(await this.#controller.create(wish, pauseMs));
    const container = sessions.containerOf(session);
    if (!container || !sessions.isHealthy(session)) {
      const error = sessions.unhealthy(session, await this.logs({ name }, LOG_LINES).catch(() => ''));
      throw /no such image/i.test(error.message) ? imageNotFound(image, error.message) : error;
    }
    await this.#explained({ name }, this.#shell.status(container));
    return container;
  }

  async #stopSession(ref: ContainerRef, session: Session, graceMs: number): Promise<void> {
    const container = sessions.containerOf(session);
    if (!container || session.state === 'INITIALIZED' || session.state === 'STOPPED') return;
    const tenths = String(Math.ceil(graceMs / 100));
    const asked = this.#shell.script(container, scripts.STOP, [tenths], graceMs + COMMAND_TIMEOUT_MS);
    const gone = await asked.then(
      ({ stdout }) => {
        if (stdout.trim()) this.#exits.set(ref.name, exitOf(Number(stdout)));
        return false;
      },
      (error: unknown) => {
        if (!isGone(error))
          this.#log.warn({ instance: ref.name, error: messageOf(error) }, 'cannot stop program of instance');
        return isGone(error);
      },
    );
    const stopped = this.#controller.stop(session.id).then((after) => {
      if (after?.state === 'MIXED') throw sessions.unhealthy(after, '');
    });
    await stopped.catch((error: unknown) => {
      // The container does not run and may no longer exist.
      if (!gone) throw error;
    });
  }

  async #stateOf(ref: ContainerRef, session: Session): Promise<ContainerState> {
    const container = sessions.containerOf(session);
    if (session.state === 'INITIALIZED') return await this.#withLabels(ref, { status: 'created' });
    if (!container || session.state === 'STOPPED' || session.state === 'STALE') {
      const exit = this.#exits.get(ref.name) ?? `its session is ${session.state}`;
      return await this.#withLabels(ref, { status: 'exited', exit });
    }
    this.#containers.set(ref.name, container);
    try {
      return await this.#withLabels(ref, sessions.stateFrom(await this.#shell.status(container)));
    } catch (error) {
      if (isGone(error)) return await this.#withLabels(ref, { status: 'exited', exit: GONE });
      throw await this.#explain(ref, error);
    }
  }

  async #withLabels(ref: ContainerRef, state: Pick<ContainerState, 'status' | 'exit'>): Promise<ContainerState> {
    return { ...ref, ...state, labels: await this.#labelsOf(ref.name) };
  }

  async #script(ref: ContainerRef, text: string, args: readonly string[]): Promise<ExecResult> {
    const container = await this.#mustHave(ref);
    return await this.#explained(ref, this.#shell.script(container, text, args, COMMAND_TIMEOUT_MS));
  }

  async #mustHave(ref: ContainerRef): Promise<Container> {
    const container = this.#containers.get(ref.name) ?? (await this.#find(ref));
    if (!container) throw failed(`Janus has no session ${ref.name}`, 'Release the stream and create it again.');
    this.#containers.set(ref.name, container);
    return container;
  }

  async #find(ref: ContainerRef): Promise<Container | undefined> {
    const session = sessions.bestOf(await this.#controller.sessionsOf(ref.name));
    return session && sessions.containerOf(session);
  }

  async #labelsOf(name: string): Promise<Labels> {
    const known = this.#labels.get(name);
    if (known) return known;
    const labels = labelsOf((await this.#controller.environment(name)) ?? {});
    if (Object.keys(labels).length > 0) this.#labels.set(name, labels);
    return labels;
  }

  async #explained<T>(ref: ContainerRef, work: Promise<T>): Promise<T> {
    return await work.catch(async (error: unknown) => {
      throw await this.#explain(ref, error);
    });
  }

  /** Explains why a command failed. */
  async #explain(ref: ContainerRef, error: unknown): Promise<unknown> {
    if (S2DSException.is(error)) return error;
    const words = sessions.lastWords(await this.logs(ref, LOG_LINES).catch(messageOf));
    const what = isGone(error) ? 'does not run' : 'cannot be used';
    return failed(`The container of ${ref.name} ${what}${words}`, SEE_LOGS, error);
  }
}

/** The signal name as kill(1) expects it. */
const short = (signal: NodeJS.Signals): string => signal.replace(/^SIG/, '');
