import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { messageOf } from '@scistream/core';
import { DockerBackend } from './backend.js';
import { EmulatedController, type Call } from './controller.js';
import { Reply } from './surface.js';

const BASE = '/api/janus/controller';

/** A failure of the next matching requests. */
export interface Fault {
  /** Matches "METHOD /path" below the base path. */
  readonly on: RegExp;
  /** Number of requests. Default: until the fault is removed. */
  times?: number;
  /**
   * A status code; a text that is not JSON; JSON of another shape; no answer; a connection that breaks before the
   * request is processed (`reset`) or after it (`lost`).
   */
  readonly what: number | 'garbage' | 'shape' | 'silence' | 'reset' | 'lost';
}

/** Access to an emulator. */
export interface EmulatorSettings {
  readonly cert: string;
  readonly key: string;
  readonly password: string;
  /** Address of the engine as in DOCKER_HOST. */
  readonly engine: string;
  readonly nodes: readonly string[];
  readonly images: readonly string[];
}

type Handler = (call: Call, args: readonly string[]) => unknown;

/**
 * The REST interface of a Janus controller, at least as strict as the real one: verbs, fields, types and status codes
 * outside its description are rejected. Containers are real and run on the local engine.
 */
export class JanusEmulator implements AsyncDisposable {
  readonly controller: EmulatedController;
  readonly backend: DockerBackend;
  /** Requests so far as "METHOD /path", oldest first. */
  readonly seen: string[] = [];
  readonly #tokens = new Set<string>();
  readonly #faults = new Set<Fault>();
  readonly #open = new Set<Socket>();
  readonly #server: Server;
  readonly #routes: readonly [RegExp, Readonly<Record<string, Handler>>][];

  private constructor(private readonly settings: EmulatorSettings) {
    this.backend = new DockerBackend(settings.engine, randomBytes(6).toString('hex'));
    this.controller = new EmulatedController(this.backend, settings.nodes, settings.images);
    this.#routes = routesOf(this.controller, (call) => this.#issueToken(call));
    this.#server = createServer({ cert: settings.cert, key: settings.key }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#open.add(socket);
      socket.once('close', () => this.#open.delete(socket));
    });
  }

  static async open(settings: EmulatorSettings): Promise<JanusEmulator> {
    const emulator = new JanusEmulator(settings);
    emulator.#server.listen({ host: '127.0.0.1', port: 0 });
    await once(emulator.#server, 'listening');
    return emulator;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Injects a failure. @returns a function that removes it */
  fault(fault: Fault): () => void {
    this.#faults.add(fault);
    return () => void this.#faults.delete(fault);
  }

  /** Issues a token like POST /token. */
  token(): string {
    const token = randomBytes(16).toString('hex');
    this.#tokens.add(token);
    return token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((done) => this.#server.close(done));
    for (const id of await this.backend.containers()) await this.backend.remove(id);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://janus');
    const path = url.pathname.startsWith(BASE) ? url.pathname.slice(BASE.length) : undefined;
    const line = `${request.method} ${path ?? url.pathname}`;
    this.seen.push(line);
    const fault = [...this.#faults].find(({ on, times }) => on.test(line) && times !== 0);
    if (fault?.times !== undefined) fault.times -= 1;
    const body = await text(request);
    if (fault?.what === 'silence') return;
    if (fault?.what === 'reset') return void request.socket.destroy();
    if (typeof fault?.what === 'number') return send(response, fault.what, { error: 'Injected by a test' });
    if (fault?.what === 'garbage') return void response.writeHead(200).end('<html>Bad gateway</html>');
    if (fault?.what === 'shape') return send(response, 200, { surprise: true });
    const reply = await this.#answer(request, path, url.searchParams, body);
    if (fault?.what === 'lost') return void request.socket.destroy();
    send(response, reply.status, reply.body);
  }

  async #answer(
    request: IncomingMessage,
    path: string | undefined,
    query: URLSearchParams,
    body: string,
  ): Promise<Reply> {
    try {
      const user = this.#authenticate(request.headers.authorization);
      const route = this.#routes.find(([pattern]) => path !== undefined && pattern.test(path));
      if (!route) throw new Reply(404, { error: 'Not found' });
      const [pattern, methods] = route;
      const handler = methods[request.method ?? ''];
      if (!handler) throw new Reply(405, { message: 'The method is not allowed for the requested URL.' });
      const args = (pattern.exec(path ?? '') ?? []).slice(1).map(decodeURIComponent);
      return new Reply(200, await handler({ user, query, body: parsed(request, body) }, args));
    } catch (error) {
      return error instanceof Reply ? error : new Reply(500, { message: messageOf(error) });
    }
  }

  #authenticate(header = ''): string {
    const [scheme, credentials = ''] = header.split(' ');
    if (scheme === 'Bearer' && this.#tokens.has(credentials)) return 'admin';
    const known = Buffer.from(`admin:${this.settings.password}`).toString('base64');
    if (scheme === 'Basic' && credentials === known) return 'admin';
    throw new Reply(401, { error: 'Unauthorized' });
  }

  #issueToken(call: Call): unknown {
    if (call.user !== 'admin') throw new Reply(403, { error: 'Forbidden' });
    return { access_token: this.token() };
  }
}

function routesOf(janus: EmulatedController, issueToken: Handler): [RegExp, Readonly<Record<string, Handler>>][] {
  const first = (args: readonly string[]): string => args[0] ?? '';
  const id = (args: readonly string[]): number => Number(args[0]);
  return [
    [/^\/token$/, { POST: issueToken }],
    [/^\/nodes$/, { GET: () => janus.listNodes() }],
    [/^\/nodes\/([^/]+)$/, { GET: (_call, args) => janus.node(first(args)) }],
    [/^\/images$/, { GET: () => janus.listImages() }],
    [/^\/images\/(.+)$/, { GET: (_call, args) => janus.image(first(args)) }],
    [
      /^\/profiles\/host\/([^/]+)$/,
      {
        GET: (_call, args) => janus.profile(first(args)),
        POST: (call, args) => janus.addProfile(first(args), call),
        PUT: (call, args) => janus.changeProfile(first(args), call),
        DELETE: (_call, args) => janus.removeProfile(first(args)),
      },
    ],
    [/^\/create$/, { POST: (call) => janus.create(call) }],
    [/^\/start\/(\d+)$/, { PUT: (_call, args) => janus.start(id(args)) }],
    [/^\/stop\/(\d+)$/, { PUT: (_call, args) => janus.stop(id(args)) }],
    [/^\/active$/, { GET: () => [...janus.sessions.values()] }],
    [
      /^\/active\/(\d+)$/,
      { GET: (_call, args) => janus.session(id(args)), DELETE: (_call, args) => janus.remove(id(args)) },
    ],
    [/^\/active\/(\d+)\/logs\/([^/]+)$/, { GET: (call, args) => janus.logs(id(args), args[1] ?? '', call) }],
    [/^\/exec$/, { POST: (call) => janus.exec(call), GET: (call) => janus.execStatus(call) }],
  ];
}

/** The JSON body of POST and PUT; undefined for PUT /start and /stop, which have none. */
function parsed(request: IncomingMessage, body: string): unknown {
  if (body === '') return undefined;
  if (request.headers['content-type'] !== 'application/json') throw new Reply(415, { message: 'Not JSON' });
  try {
    return JSON.parse(body) as unknown;
  } catch {
    throw new Reply(400, { message: 'The browser (or proxy) sent a request that this server could not understand.' });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (status === 204) return void response.writeHead(204).end();
  const type = { 'content-type': 'application/json' };
  response.writeHead(status, type).end(JSON.stringify(body));
}
