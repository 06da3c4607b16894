import { exitOf, quote, S2DSException, type ContainerState } from '@scistream/core';
import { z } from 'zod';
import { failed } from './failures.js';
import type { Container, ProgramStatus } from './shell.js';

/** Prefix of profile names created by any SciStream gateway. A session is identified by its profile. */
export const PREFIX = 'scistream-';

/** A container of a session on one node. */
const Service = z.looseObject({ container_id: z.string().nullish(), errors: z.array(z.unknown()).default([]) });

const Request = z.looseObject({ profile: z.string() });

/** A session in the answer of GET /active/<id>. */
export const SessionRecord = z.looseObject({
  id: z.number(),
  state: z.enum(['INITIALIZED', 'STARTED', 'STOPPED', 'MIXED', 'STALE']),
  services: z.record(z.string(), z.array(Service)),
  request: z.union([z.array(Request), Request.transform((one) => [one])]).default([]),
});

/** The fields of a Janus session that the runtime uses. */
export type Session = z.output<typeof SessionRecord>;

/** Whether a session was created by SciStream. Sessions of others may have any shape and are not validated. */
export const isOurs = (record: unknown): boolean =>
  SessionRecord.pick({ request: true })
    .safeParse(record)
    .data?.request.some(({ profile }) => profile.startsWith(PREFIX)) ?? false;

/** Name of the profile of a SciStream session, which is the name of the instance. */
export const profileOf = ({ request }: Session): string | undefined =>
  request.map(({ profile }) => profile).find((name) => name.startsWith(PREFIX));

/** The usable session of several with one name, which a lost answer can cause. */
export const bestOf = (sessions: readonly Session[]): Session | undefined =>
  sessions.find(({ state }) => state === 'STARTED') ?? sessions[0];

/** The node of a session; a SciStream session has one. */
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

/** Whether a session runs. Janus reports container failures with HTTP 200, the state MIXED and a list of errors. */
export const isHealthy = (session: Session): boolean =>
  session.state === 'STARTED' && errorsOf(session).length === 0 && containerOf(session) !== undefined;

/** The error for an unhealthy session. @param log Last lines of its container. */
export function unhealthy(session: Session, log: string): S2DSException {
  const why = errorsOf(session)
    .map((error) => quote(error))
    .join(', ');
  return failed(
    `Janus session ${session.id} is ${session.state}: ${why || 'no reason given'}${lastWords(log)}`,
    'See the log of Janus and of the node.',
  );
}

/** The last output of a container as the end of a sentence; empty without output. */
export const lastWords = (log: string): string => (log.trim() ? `; its last output: ${log.trim()}` : '');

/** Translates the state of a program into the state of a runtime. */
export function stateFrom(program: ProgramStatus): Pick<ContainerState, 'status' | 'exit'> {
  if (program.status !== 'exited') return { status: program.status };
  return { status: 'exited', exit: exitOf(program.code) };
}

/** The error for a program that is missing in an image. */
export const notInImage = (executable: string): S2DSException =>
  new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program ${executable} is not in the image.`, {
    suggestions: ['Set the key image of the proxy to an image that contains it.'],
  });
