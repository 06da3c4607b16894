import { randomUUID } from 'node:crypto';
import { messageOf } from '@scistream/core';
import { z } from 'zod';
import type { DockerBackend } from './backend.js';
import {
  checked,
  CreateBody,
  ExecBody,
  HostSettings,
  ProfileBody,
  Reply,
  splitLikeShell,
  type Service,
  type SessionRecord,
} from './surface.js';

/** An authenticated request. */
export interface Call {
  readonly user: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** Container failures that a test injects. */
export interface ContainerFaults {
  /** Containers do not start: the next sessions are MIXED. */
  startFails: string | undefined;
  /** Containers exit immediately after their start. */
  exitAtOnce: boolean;
}

/** State and operations of Janus: sessions, profiles, images and nodes. All nodes share one engine. */
export class EmulatedController {
  readonly sessions = new Map<number, SessionRecord>();
  readonly profiles = new Map<string, HostSettings>([['default', HostSettings.parse({})]]);
  readonly faults: ContainerFaults = { startFails: undefined, exitAtOnce: false };
  #lastId = 0;

  constructor(
    private readonly backend: DockerBackend,
    readonly nodes: readonly string[],
    readonly images: readonly string[],
  ) {}

  listNodes(): unknown {
    return this.nodes.map((name, i) => this.#node(name, i));
  }

  node(name: string): unknown {
    const i = this.nodes.indexOf(name);
    if (i < 0) throw new Reply(404, { error: 'Not found' });
    return this.#node(name, i);
  }

  listImages(): unknown {
    return this.images.map((name) => ({ name }));
  }

  image(name: string): unknown {
    if (this.images.includes(name)) return { name };
    throw new Reply(404, { error: 'Not found' });
  }

  profile(name: string): unknown {
    const settings = this.profiles.get(name);
    if (settings) return { name, settings };
    throw new Reply(404, { error: `Profile not found: ${name}` });
  }

  addProfile(name: string, { body }: Call): unknown {
    const { settings } = checked(ProfileBody, body);
    if (this.profiles.has(name)) throw new Reply(400, { error: `'${name}' already exists!` });
    this.profiles.set(name, settings);
    return this.profile(name);
  }

  changeProfile(name: string, { body }: Call): unknown {
    if (name === 'default') throw new Reply(400, { error: 'Cannot update default profile!' });
    this.profile(name);
    this.profiles.set(name, checked(ProfileBody, body).settings);
    return this.profile(name);
  }

  removeProfile(name: string): never {
    if (name === 'default') throw new Reply(400, { error: 'Cannot delete default profile' });
    this.profile(name);
    this.profiles.delete(name);
    throw new Reply(204);
  }

  async create({ user, body }: Call): Promise<unknown> {
    const wishes = checked(z.union([z.array(CreateBody).min(1), CreateBody]), body);
    const request = Array.isArray(wishes) ? wishes : [wishes];
    for (const wish of request) this.#mustKnow(wish);
    const id = ++this.#lastId;
    const services: Record<string, Service[]> = {};
    let number = 0;
    for (const wish of request) {
      for (const node of namesOf(wish)) {
        const service = await this.#service(`janus-${id}-${++number}-${randomUUID().slice(0, 8)}`, node, wish);
        services[node] = [...(services[node] ?? []), service];
      }
    }
    const session: SessionRecord = {
      id,
      uuid: randomUUID(),
      user,
      state: 'INITIALIZED',
      services,
      request,
      users: [],
      groups: [],
    };
    this.sessions.set(id, session);
    return { [id]: { id } };
  }

  async start(id: number): Promise<SessionRecord> {
    const session = this.session(id);
    if (session.state === 'STARTED') return session;
    let failed = false;
    for (const service of Object.values(session.services).flat()) {
      try {
        if (this.faults.startFails !== undefined) throw new Error(this.faults.startFails);
        if (service.container_id === null) throw new Error('no container');
        await this.backend.start(service.container_id);
      } catch (error) {
        failed = true;
        service.errors.push({ reason: 'Internal Server Error', response: messageOf(error) });
      }
    }
    session.state = failed ? 'MIXED' : 'STARTED';
    return session;
  }

  async stop(id: number): Promise<SessionRecord> {
    const session = this.session(id);
    if (session.state === 'INITIALIZED' || session.state === 'STOPPED') return session;
    for (const { container_id } of Object.values(session.services).flat()) {
      if (container_id !== null) await this.backend.stop(container_id);
    }
    session.state = 'STOPPED';
    return session;
  }

  session(id: number): SessionRecord {
    const session = this.sessions.get(id);
    if (!session) throw new Reply(404, { error: 'Not found' });
    return session;
  }

  async remove(id: number): Promise<never> {
    const session = this.sessions.get(id);
    for (const { container_id } of Object.values(session?.services ?? {}).flat()) {
      if (container_id !== null) await this.backend.remove(container_id);
    }
    this.sessions.delete(id);
    throw new Reply(204);
  }

  async logs(id: number, node: string, { query }: Call): Promise<unknown> {
    const [service] = this.session(id).services[node] ?? [];
    if (!service?.container_id) throw new Reply(500, { error: 'Could not retrieve container logs' });
    return { response: await this.backend.logs(service.container_id, Number(query.get('tail') ?? 100)) };
  }

  async exec({ body }: Call): Promise<unknown> {
    const { node, container, Cmd, start, attach, tty } = checked(ExecBody, body);
    this.node(node);
    try {
      const id = await this.backend.prepare(container, Cmd, attach, tty);
      return { Id: id, ...(start ? { response: await this.backend.run(id) } : {}) };
    } catch (error) {
      throw new Reply(500, { error: messageOf(error) });
    }
  }

  async execStatus({ query }: Call): Promise<unknown> {
    return { Running: await this.backend.isRunning(query.get('exec_id') ?? '') };
  }

  #node(name: string, i: number): unknown {
    const host = { cpu: { count: 2 }, mem: { total: 1 << 30 } };
    return { id: i + 1, name, endpoint_type: 1, public_url: '127.0.0.1', networks: {}, images: this.images, host };
  }

  #mustKnow(wish: CreateBody): void {
    for (const node of namesOf(wish)) {
      if (!this.nodes.includes(node)) throw new Reply(404, { error: `Node ${node} not found` });
    }
    if (!this.profiles.has(wish.profile)) throw new Reply(404, { error: `Profile ${wish.profile} not found` });
    const [name = ''] = wish.image.split(':');
    if (!this.images.includes(name)) throw new Reply(404, { error: `Image ${wish.image} not found` });
  }

  async #service(container_name: string, node: string, wish: CreateBody): Promise<Service> {
    const { image, profile } = wish;
    const settings = this.profiles.get(profile) ?? HostSettings.parse({});
    const line = wish.arguments ?? settings.arguments ?? '';
    const command = this.faults.exitAtOnce ? ['-c', 'echo cannot go on; exit 7'] : splitLikeShell(line);
    try {
      const container_id = await this.backend.create({
        name: container_name,
        hostName: node,
        image,
        entrypoint: wish.entrypoint ?? settings.entrypoint ?? undefined,
        command,
        network: settings.mgmt_net,
        environment: settings.environment,
        memory: settings.memory,
      });
      return { container_id, container_name, image, profile, errors: [] };
    } catch (error) {
      throw new Reply(500, { message: messageOf(error) });
    }
  }
}

const namesOf = ({ instances }: CreateBody): readonly string[] =>
  instances.map((instance) => (typeof instance === 'string' ? instance : instance.name));
