import { constants } from 'node:os';
import { quote, S2DSException, type ContainerState } from '@scistream/core';
import { z } from 'zod';
import { failed } from './failures.js';
import type { Container, ProgramStatus } from './shell.js';

/** Names of our profiles begin with this, whichever data server made them; a session is known by its profile. */
export const PREFIX = 'scistream-';

/** A container of a session on one node. */
const Service = z.looseObject({ container_id: z.string().nullish(), errors: z.array(z.unknown()).default([]) });

const Request = z.looseObject({ profile: z.string() });

/** A session as GET /active/<id> shows it. */
export const SessionRecord = z.looseObject({
  id: z.number(),
  state: z.enum(['INITIALIZED', 'STARTED', 'STOPPED', 'MIXED', 'STALE']),
  services: z.record(z.string(), z.array(Service)),
  request: z.union([z.array(Request), Request.transform((one) => [one])]).default([]),
});

/** A session of Janus, as far as it matters here. */
export type Session = z.output<typeof SessionRecord>;

/** In a list, sessions of others may be in any state, also half made; only ours have to be as they should. */
export const isOurs = (record: unknown): boolean =>
  SessionRecord.pick({ request: true })
    .safeParse(record)
    .data?.request.some(({ profile }) => profile.startsWith(PREFIX)) ?? false;

/** Name of the profile of a session of ours, which is the name of the instance. */
export const profileOf = ({ request }: Session): string | undefined =>
  request.map(({ profile }) => profile).find((name) => name.startsWith(PREFIX));

/** The one that works, where a lost answer has led to several of a name. */
export const bestOf = (sessions: readonly Session[]): Session | undefined =>
  sessions.find(({ state }) => state === 'STARTED') ?? sessions[0];

/** Nodes of a session; ours have one. */
export const nodeOf = ({ services }: Session): string | undefined => Object.keys(services)[0];

/** The container of a session, if it has one. */
export function containerOf({ id, services }: Session): Container | undefined {
  for (const [node, [service]] of Object.entries(services)) {
    if (service?.container_id) return { session: id, node, id: service.container_id };
  }
  return undefined;
}

const errorsOf = ({ services }: Session): readonly unknown[] =>
  Object.values(services).flatMap((all) => all.flatMap(({ errors }) => errors));

/** Janus reports trouble with a container by the state MIXED and a list of errors, with HTTP 200 (janus-api.md). */
export const isHealthy = (session: Session): boolean =>
  session.state === 'STARTED' && errorsOf(session).length === 0 && containerOf(session) !== undefined;

/** The error for a session that is not healthy. @param log Last lines of its container. */
export function unhealthy(session: Session, log: string): S2DSException {
  const why = errorsOf(session)
    .map((error) => quote(error))
    .join(', ');
  return failed(
    `Janus session ${session.id} is ${session.state}: ${why || 'no reason given'}${lastWords(log)}`,
    'See the node of the session, and the log of Janus.',
  );
}

/** The end of a sentence: what a container wrote last, if anything. */
export const lastWords = (log: string): string => (log.trim() ? `; its last words: ${log.trim()}` : '');

/** What a program's state is in the words of the runtimes. */
export function stateFrom(program: ProgramStatus): Pick<ContainerState, 'status' | 'exit'> {
  if (program.status !== 'exited') return { status: program.status };
  return { status: 'exited', exit: exitOf(program.code) };
}

/** How a program ended, from the code a shell gives it. */
export function exitOf(code: number): string {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return signal === undefined ? `exit code ${code}` : `signal ${signal}`;
}

/** The error for a program that an image lacks. */
export const notInImage = (executable: string): S2DSException =>
  new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program ${executable} is not in the image.`, {
    suggestions: ['Name an image that has it, under the key image of the proxy.'],
  });
