import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
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
import { JanusController, type Session } from './controller.js';
import { checkName, encode, environmentOf, labelsOf, PART, parts } from './environment.js';
import { failed, imageNotFound } from './failures.js';
import type { JanusOptions } from './options.js';
import { Placements, PREFIX, profileOf } from './placements.js';
import * as scripts from './scripts.js';
import { exitOf, Shell, wordsOf, type Container } from './shell.js';

const COMMAND_TIMEOUT_MS = 10_000;
const LOG_LINES = 10;

type Labels = ContainerSpec['labels'];

/**
 * Runs instances as sessions of an ESnet Janus controller, one session and one host profile per instance, both of its
 * name. The session is started by `create`: its first process writes the files and waits, so that commands work from then
 * on; `start` lets it run the program, and it tells how the program ended. Everything is found again by name, nothing is
 * kept here that could not be asked for, so any number of S2DS objects may come and go.
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
  readonly #containers = new Map<string, Container>();
  readonly #labels = new Map<string, Labels>();
  /** Of files as they are in the containers: name of the instance, name of the file, SHA-256. */
  readonly #hashes = new Map<string, Map<string, string>>();

  constructor(options: JanusOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
    this.#connection = new JanusConnection(options, log);
    this.#controller = new JanusController(this.#connection);
    this.#shell = new Shell(this.#controller);
    this.#placements = new Placements(this.#controller, options.nodes);
  }

  /** Closes the connections; nothing of an instance ends by it. */
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
    const ref = { name: spec.name };
    const environment = environmentOf(spec.labels, spec.files);
    const uid = spec.labels[LABELS.uid] ?? spec.name;
    const node = spec.node ?? (await this.place(uid)).node;
    await this.#mustBeFree(spec);
    try {
      await this.#controller.putProfile(spec.name, { ...this.#options.profile, volumes: [], environment });
      const container = await this.#open(spec, node);
      this.#containers.set(spec.name, container);
      this.#labels.set(spec.name, spec.labels);
      this.#hashes.set(spec.name, new Map(Object.entries(spec.files).map(([name, text]) => [name, hash(text)])));
      this.#placements.began(uid, node);
    } catch (error) {
      await this.remove(ref).catch((left: unknown) => {
        this.#log.error({ instance: spec.name, error: messageOf(left) }, 'session could not be removed');
      });
      throw error;
    }
    return ref;
  }

  async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    const container = await this.#mustHave(ref);
    const command = `exec ${[spec.executable, ...spec.args].map(scripts.word).join(' ')}`;
    const started = await this.#command(ref, container, scripts.START, [
      spec.executable,
      command,
      short(spec.stopSignal),
    ]);
    if (started.exitCode === 127) throw notInImage(spec.executable);
    this.#log.debug({ instance: ref.name, node: container.node, session: container.session }, 'instance started');
  }

  async stop(ref: ContainerRef, graceMs: number): Promise<void> {
    const session = await this.#session(ref);
    if (!session) return;
    const container = containerOf(session);
    if (container && session.state === 'STARTED') await this.#ask(ref, container, graceMs);
    const stopped = await this.#controller.stop(session.id);
    if (stopped?.state === 'MIXED') throw unhealthy(stopped, '');
  }

  async remove(ref: ContainerRef): Promise<void> {
    const session = await this.#session(ref);
    if (session) await this.#controller.remove(session.id);
    // After the session: as long as there is one, its labels must be found.
    const labels = await this.#labelsOf(ref.name);
    await this.#controller.removeProfile(ref.name);
    const container = this.#containers.get(ref.name);
    if (container) this.#shell.forget(container);
    this.#placements.forget(labels[LABELS.uid] ?? ref.name);
    for (const known of [this.#containers, this.#labels, this.#hashes]) known.delete(ref.name);
  }

  async inspect(ref: ContainerRef): Promise<ContainerState> {
    const session = await this.#session(ref);
    return session ? await this.#stateOf(ref, session) : { ...ref, status: 'absent', labels: {} };
  }

  async list(labels: Labels): Promise<readonly ContainerState[]> {
    const sessions = await this.#controller.sessions();
    const states = await Promise.all(
      sessions.map(async (session) => {
        const name = profileOf(session);
        if (name === undefined) return [];
        const carried = await this.#labelsOf(name);
        if (!Object.entries(labels).every(([key, value]) => carried[key] === value)) return [];
        return [await this.#stateOf({ name }, session)];
      }),
    );
    return states.flat();
  }

  async logs(ref: ContainerRef, lines: number): Promise<string> {
    const session = await this.#session(ref);
    const [node] = Object.keys(session?.services ?? {});
    return session && node !== undefined ? await this.#logsOf(session.id, node, lines) : '';
  }

  async exec(ref: ContainerRef, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const container = await this.#mustHave(ref);
    const result = await this.#shell.run(container, command, timeoutMs).catch(async (error: unknown) => {
      throw await this.#explain(ref, error);
    });
    if (result.exitCode === 127) throw notInImage(command[0] ?? '');
    return result;
  }

  async putFiles(ref: ContainerRef, files: InstanceFiles): Promise<void> {
    const container = await this.#mustHave(ref);
    const changed = await this.#changed(ref, container, files);
    let batch: string[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await this.#command(ref, container, scripts.PUT, batch.splice(0));
    };
    for (const [name, content] of changed) {
      const base64 = encode(content);
      if (base64.length > PART) {
        await this.#putLarge(ref, container, name, base64);
        continue;
      }
      if (batch.join('').length + base64.length > PART) await flush();
      batch = [...batch, checkName(name), base64];
    }
    await flush();
    const known = this.#hashes.get(ref.name);
    for (const [name, content] of changed) known?.set(name, hash(content));
  }

  async signal(ref: ContainerRef, signal: NodeJS.Signals): Promise<void> {
    const container = await this.#mustHave(ref);
    const sent = await this.#command(ref, container, scripts.SIGNAL, [short(signal)]);
    if (sent.exitCode === 0) return;
    throw new S2DSException('SCI_PROXY_DIED', `${ref.name} does not run, so ${signal} cannot reach it.`);
  }

  async dial(ref: ContainerRef): Promise<Duplex> {
    throw failed(`No socket of ${ref.name} can be reached through Janus`, 'This is a defect; please report it.');
  }

  async exited(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const state = await this.#look(ref, signal);
        if (state.status === 'exited' || state.status === 'absent') return state;
      } catch (error) {
        signal.throwIfAborted();
        // Trouble on the way there says nothing about the program.
        this.#log.debug({ instance: ref.name, error: messageOf(error) }, 'cannot look at instance');
      }
      await sleep(this.#options.heartbeat, undefined, { signal });
    }
  }

  /** One look at a program; the session is only asked for when its container does not answer. */
  async #look(ref: ContainerRef, signal: AbortSignal): Promise<ContainerState> {
    const container = this.#containers.get(ref.name);
    if (!container) return await this.inspect(ref);
    try {
      const program = await this.#shell.status(container, 0, signal);
      return { ...ref, labels: this.#labels.get(ref.name) ?? {}, ...stateFrom(program) };
    } catch (error) {
      if (isGone(error)) return { ...ref, status: 'exited', labels: await this.#labelsOf(ref.name), exit: GONE };
      return await this.inspect(ref);
    }
  }

  async #mustBeFree(spec: ContainerSpec): Promise<void> {
    const [session, profile] = await Promise.all([
      this.#controller.sessionOf(spec.name),
      this.#controller.environment(spec.name),
    ]);
    // A profile without a session is what a crash in the middle of `create` leaves.
    const owner = profile && labelsOf(profile)[LABELS.owner];
    if (!session && (!profile || owner === spec.labels[LABELS.owner])) return;
    throw new S2DSException('SCI_CONTAINER_CONFLICT', `A session or profile ${spec.name} exists in Janus already.`, {
      suggestions: ['Release the stream it belongs to, or restart the daemon, which removes what nobody owns.'],
    });
  }

  /** Makes and starts the session and waits until its files are written. */
  async #open({ name, image }: ContainerSpec, node: string): Promise<Container> {
    const { retries, backOff, maxBackOff } = this.#options;
    const wish = { node, image, profile: name, entrypoint: '/bin/sh', arguments: scripts.ENTRY_ARGUMENTS };
    const pause = (attempt: number): Promise<void> => sleep(Math.min(maxBackOff, backOff * 2 ** attempt));
    const id = await this.#controller.create(wish, retries, pause);
    const session = await this.#controller.start(id);
    const container = containerOf(session);
    if (!container || !isHealthy(session)) throw await this.#unhealthy(session, image);
    try {
      await this.#shell.status(container);
    } catch (error) {
      throw await this.#explain({ name }, error, session);
    }
    return container;
  }

  async #ask(ref: ContainerRef, container: Container, graceMs: number): Promise<void> {
    const tenths = String(Math.ceil(graceMs / 100));
    try {
      await this.#shell.script(container, scripts.STOP, [tenths], graceMs + COMMAND_TIMEOUT_MS);
    } catch (error) {
      if (!isGone(error))
        this.#log.warn({ instance: ref.name, error: messageOf(error) }, 'instance cannot be asked to end');
    }
  }

  async #stateOf(ref: ContainerRef, session: Session): Promise<ContainerState> {
    const labels = await this.#labelsOf(ref.name);
    const container = containerOf(session);
    if (session.state === 'INITIALIZED') return { ...ref, status: 'created', labels };
    if (!container || session.state === 'STOPPED' || session.state === 'STALE') {
      return { ...ref, status: 'exited', labels, exit: `session is ${session.state}` };
    }
    this.#containers.set(ref.name, container);
    try {
      return { ...ref, labels, ...stateFrom(await this.#shell.status(container)) };
    } catch (error) {
      if (isGone(error)) return { ...ref, status: 'exited', labels, exit: GONE };
      throw await this.#explain(ref, error, session);
    }
  }

  async #changed(ref: ContainerRef, container: Container, files: InstanceFiles): Promise<[string, string][]> {
    const known = this.#hashes.get(ref.name) ?? (await this.#askHashes(ref, container, Object.keys(files)));
    this.#hashes.set(ref.name, known);
    return Object.entries(files).filter(([name, content]) => known.get(name) !== hash(content));
  }

  async #askHashes(ref: ContainerRef, container: Container, names: readonly string[]): Promise<Map<string, string>> {
    const { stdout } = await this.#command(ref, container, scripts.HASH, names.map(checkName));
    const lines = [...stdout.matchAll(/^([0-9a-f]{64}) [ *](.+)$/gm)];
    return new Map(lines.map(([, sum = '', name = '']) => [name, sum]));
  }

  async #putLarge(ref: ContainerRef, container: Container, name: string, base64: string): Promise<void> {
    const gathered = `.b64-${checkName(name)}`;
    await this.exec(ref, ['rm', '-f', gathered], COMMAND_TIMEOUT_MS);
    for (const part of parts(base64)) await this.#command(ref, container, scripts.APPEND, [gathered, part]);
    await this.#command(ref, container, scripts.PUT_GATHERED, [gathered, name]);
  }

  async #command(ref: ContainerRef, container: Container, text: string, args: readonly string[]): Promise<ExecResult> {
    return await this.#shell.script(container, text, args, COMMAND_TIMEOUT_MS).catch(async (error: unknown) => {
      throw await this.#explain(ref, error);
    });
  }

  async #session(ref: ContainerRef): Promise<Session | undefined> {
    const known = this.#containers.get(ref.name);
    const session = known && (await this.#controller.session(known.session));
    // The number of a session may be given again after Janus has lost its records.
    if (session && profileOf(session) === ref.name) return session;
    return await this.#controller.sessionOf(ref.name);
  }

  async #mustHave(ref: ContainerRef): Promise<Container> {
    const known = this.#containers.get(ref.name);
    if (known) return known;
    const session = await this.#session(ref);
    const container = session && containerOf(session);
    if (!container) throw failed(`Janus has no session ${ref.name}`, 'Release the stream and make it again.');
    this.#containers.set(ref.name, container);
    return container;
  }

  async #labelsOf(name: string): Promise<Labels> {
    const known = this.#labels.get(name);
    if (known) return known;
    const labels = labelsOf((await this.#controller.environment(name)) ?? {});
    if (Object.keys(labels).length > 0) this.#labels.set(name, labels);
    return labels;
  }

  async #logsOf(session: number, node: string, lines: number): Promise<string> {
    const text = (await this.#controller.logs(session, node, lines)).replaceAll('\r', '').trimEnd();
    return text.split('\n').slice(-lines).join('\n');
  }

  /** What it means that a command could not be run. */
  async #explain(ref: ContainerRef, error: unknown, session?: Session): Promise<unknown> {
    if (S2DSException.is(error)) return error;
    const words = await this.logs(ref, LOG_LINES).catch(messageOf);
    const state = session ? `, session ${session.id}` : '';
    if (isGone(error))
      return failed(`The container of ${ref.name}${state} does not run${lastWords(words)}`, IMAGE, error);
    return failed(
      `The container of ${ref.name}${state} cannot be asked${lastWords(words)}`,
      'See the log of Janus.',
      error,
    );
  }

  async #unhealthy(session: Session, image: string): Promise<Error> {
    const [node = ''] = Object.keys(session.services);
    const words = await this.#logsOf(session.id, node, LOG_LINES).catch(() => '');
    const error = unhealthy(session, words);
    return /no such image/i.test(error.message) ? imageNotFound(image, error.message) : error;
  }
}

const GONE = 'its container does not run';
const IMAGE = 'The image must have sh, base64, timeout, sleep and sha256sum; see the log of its container.';

/** As kill(1) takes it. */
const short = (signal: NodeJS.Signals): string => signal.replace(/^SIG/, '');

const hash = (text: string): string => createHash('sha256').update(text).digest('hex');

const lastWords = (log: string): string => (log.trim() ? `; its last words: ${log.trim()}` : '');

function containerOf({ id, services }: Session): Container | undefined {
  for (const [node, [service]] of Object.entries(services)) {
    if (service?.container_id) return { session: id, node, id: service.container_id };
  }
  return undefined;
}

const errorsOf = ({ services }: Session): readonly unknown[] =>
  Object.values(services).flatMap((all) => all.flatMap(({ errors }) => errors));

/** Janus reports trouble with a container by the state MIXED and a list of errors, with HTTP 200 (janus-api.md). */
const isHealthy = (session: Session): boolean => session.state === 'STARTED' && errorsOf(session).length === 0;

function unhealthy(session: Session, words: string): S2DSException {
  const why = wordsOf(errorsOf(session)) || 'no reason given';
  return failed(
    `Janus session ${session.id} is ${session.state}: ${why}${lastWords(words)}`,
    'See the node of the session, and the log of Janus.',
  );
}

function stateFrom(program: Awaited<ReturnType<Shell['status']>>): Pick<ContainerState, 'status' | 'exit'> {
  if (program.status !== 'exited') return { status: program.status };
  return { status: 'exited', exit: exitOf(program.code, constants.signals) };
}

const notInImage = (executable: string): S2DSException =>
  new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program ${executable} is not in the image.`, {
    suggestions: ['Name an image that has it, under the key image of the proxy.'],
  });
