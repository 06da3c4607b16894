import { quote, retry } from '@scistream/core';
import { z } from 'zod';
import type { JanusConnection, JanusRequest } from './connection.js';
import { failed, imageNotFound, JanusRefusal } from './failures.js';
import { bestOf, isOurs, profileOf, SessionRecord, type Session } from './sessions.js';

const HostProfile = z.looseObject({
  name: z.string(),
  settings: z.looseObject({ environment: z.array(z.string()).nullish() }),
});

const Nodes = z.array(z.looseObject({ name: z.string() }));
const Created = z.record(z.string(), z.looseObject({ id: z.number() }));
const Text = z.looseObject({ response: z.string() });

/** Parameters of a new session. */
interface SessionWish {
  readonly node: string;
  readonly image: string;
  readonly profile: string;
  readonly entrypoint: string;
  /** One string, which Janus splits like a shell. */
  readonly arguments: string;
}

/** Settings of a host profile. */
type ProfileSettings = Readonly<Record<string, unknown>>;

const part = encodeURIComponent;
const profilePath = (name: string): string => `/profiles/host/${part(name)}`;

/** The calls of the controller that the runtime uses. All answers are validated. */
export class JanusController {
  constructor(private readonly connection: JanusConnection) {}

  /** Names of the nodes that Janus knows. */
  async nodes(): Promise<readonly string[]> {
    const nodes = this.#ask({ method: 'GET', path: '/nodes' }, Nodes);
    return (await orFailed(nodes, 'list the nodes')).map(({ name }) => name);
  }

  /** Sessions created by any SciStream gateway. */
  async sessions(): Promise<readonly Session[]> {
    const request = { method: 'GET', path: '/active' } as const;
    const all = await orFailed(this.#ask(request, z.array(z.unknown())), 'list the sessions');
    return all.filter(isOurs).map((record) => conform(request, SessionRecord, record));
  }

  /** Sessions created from a profile: one, or several after a lost answer. */
  async sessionsOf(profile: string): Promise<readonly Session[]> {
    return (await this.sessions()).filter((session) => profileOf(session) === profile);
  }

  /** Variables of the environment in a host profile; undefined if the profile does not exist. */
  async environment(profile: string): Promise<Readonly<Record<string, string>> | undefined> {
    const asked = orAbsent(this.#ask({ method: 'GET', path: profilePath(profile) }, HostProfile));
    const found = await orFailed(asked, `read the profile ${profile}`);
    if (!found) return undefined;
    const pairs = (found.settings.environment ?? []).map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)] as const;
    });
    return Object.fromEntries(pairs);
  }

  /** Creates a host profile, or replaces the settings of an existing one. */
  async putProfile(name: string, settings: ProfileSettings): Promise<void> {
    const body = { settings };
    const path = profilePath(name);
    const put = this.#ask({ method: 'POST', path, body }, HostProfile).catch(async (error: unknown) => {
      const exists = error instanceof JanusRefusal && error.status === 400 && /already exists/.test(error.detail);
      if (!exists) throw error;
      await this.#ask({ method: 'PUT', path, body }, HostProfile);
    });
    await orFailed(put, `create the profile ${name}`);
  }

  async removeProfile(name: string): Promise<void> {
    const removed = orAbsent(this.connection.call({ method: 'DELETE', path: profilePath(name) }));
    await orFailed(removed, `remove the profile ${name}`);
  }

  /**
   * Creates a session. Before each retry, Janus is asked whether the previous request created one. A request that Janus
   * completes even later leaves a second session. Only one session is ever started, and both are removed together.
   * @param pauseMs Returns the pause after so many failures, ms; undefined after the last attempt.
   * @throws SCI_IMAGE_NOT_FOUND, SCI_RUNTIME_FAILED, SCI_RUNTIME_UNREACHABLE
   */
  async create(wish: SessionWish, pauseMs: (failures: number) => number | undefined): Promise<number> {
    const { node, ...rest } = wish;
    const body = { ...rest, instances: [node], remove_container: false };
    let lost: unknown;
    const attempt = async (): Promise<number> => {
      try {
        const made = await this.#ask({ method: 'POST', path: '/create', body, retries: 0 }, Created);
        const [first] = Object.values(made);
        if (first) return first.id;
        throw failed('Janus created a session without returning its id', 'Look at GET /active of Janus.');
      } catch (error) {
        const final = error instanceof JanusRefusal && (error.status < 500 || lacksImage(error));
        if (final) throw refusedSession(error, wish);
        const existing = bestOf(await this.sessionsOf(wish.profile));
        if (existing) return existing.id;
        throw (lost = refusedSession(error, wish));
      }
    };
    return await retry(attempt, {
      pauseMs: (error, failures) => (error === lost ? pauseMs(failures) : undefined),
    });
  }

  async start(id: number): Promise<Session> {
    return await orFailed(this.#ask({ method: 'PUT', path: `/start/${id}` }, SessionRecord), `start session ${id}`);
  }

  /** @returns undefined if the session does not exist */
  async stop(id: number): Promise<Session | undefined> {
    const stopped = orAbsent(this.#ask({ method: 'PUT', path: `/stop/${id}` }, SessionRecord));
    return await orFailed(stopped, `stop session ${id}`);
  }

  async remove(id: number): Promise<void> {
    const removed = orAbsent(this.connection.call({ method: 'DELETE', path: `/active/${id}?force=true` }));
    await orFailed(removed, `remove session ${id}`);
  }

  async logs(id: number, node: string, lines: number): Promise<string> {
    const path = `/active/${id}/logs/${part(node)}?tail=${lines}`;
    return (await orFailed(this.#ask({ method: 'GET', path, retries: 1 }, Text), `read the log of session ${id}`))
      .response;
  }

  /**
   * Runs a command in a container and returns its output.
   * @throws JanusRefusal, which the caller interprets, and the errors of the connection
   */
  async exec(
    node: string,
    container: string,
    command: readonly string[],
    how: Pick<JanusRequest, 'timeoutMs' | 'retries' | 'signal'>,
  ): Promise<string> {
    const body = { node, container, Cmd: command, start: true, attach: true, tty: false };
    return (await this.#ask({ method: 'POST', path: '/exec', body, ...how }, Text)).response;
  }

  async #ask<T>(request: JanusRequest, schema: z.ZodType<T>): Promise<T> {
    return conform(request, schema, await this.connection.call(request));
  }
}

/** Validates an answer. @throws SCI_RUNTIME_FAILED */
function conform<T>({ method, path }: JanusRequest, schema: z.ZodType<T>, answer: unknown): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const why = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  throw failed(
    `Janus answered ${method} ${path} with ${quote(answer)}, which does not match the Janus API (${why})`,
    'Use Janus 0.3, the version that this runtime supports.',
  );
}

async function orAbsent<T>(work: Promise<T>): Promise<T | undefined> {
  return await work.catch((error: unknown) => {
    if (error instanceof JanusRefusal && error.status === 404) return undefined;
    throw error;
  });
}

/** Turns a refusal into SCI_RUNTIME_FAILED; other errors pass unchanged. */
async function orFailed<T>(work: Promise<T>, what: string): Promise<T> {
  return await work.catch((error: unknown) => {
    throw error instanceof JanusRefusal ? failed(`Janus could not ${what}`, 'See the log of Janus.', error) : error;
  });
}

function refusedSession(error: unknown, { image, node }: SessionWish): unknown {
  if (!(error instanceof JanusRefusal)) return error;
  if (lacksImage(error)) return imageNotFound(image, error.detail);
  return failed(`Janus could not create a session on node ${node}`, 'See the log of Janus.', error);
}

/** Recognizes the error texts of Janus and of the Docker engine behind it. */
const lacksImage = ({ detail }: JanusRefusal): boolean =>
  /image .*not found|no such image|pull access denied|manifest .*unknown/i.test(detail);
