import { messageOf, quote, S2DSException } from '@scistream/core';

/** The controller could not be asked. */
export function unreachable(url: string, why: string, suggestion: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', `Janus at ${url} cannot be used: ${why}.`, {
    cause,
    suggestions: [suggestion],
  });
}

/** The controller was asked and could not do it. */
export function failed(what: string, suggestion: string, cause?: unknown): S2DSException {
  const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
  return new S2DSException('SCI_RUNTIME_FAILED', `${what}${why}.`, { cause, suggestions: [suggestion] });
}

/** No node can run the image. */
export function imageNotFound(image: string, why: string): S2DSException {
  return new S2DSException('SCI_IMAGE_NOT_FOUND', `Janus cannot run the image ${quote(image)}: ${why}.`, {
    suggestions: [
      `Register it with Janus and have it on the nodes: it must be in GET /images under ${quote(image.split(':')[0])}.`,
    ],
  });
}

/** The name of an instance is taken. */
export const conflict = (name: string): S2DSException =>
  new S2DSException('SCI_CONTAINER_CONFLICT', `A session or profile ${name} exists in Janus already.`, {
    suggestions: ['Release the stream it belongs to, or restart the daemon, which removes what nobody owns.'],
  });

/** What Janus answered a request that it did not carry out. */
export class JanusRefusal extends Error {
  /**
   * @param status Of HTTP, 400 to 599.
   * @param detail What Janus says of it, cut and on one line.
   */
  constructor(
    readonly status: number,
    readonly detail: string,
    request: string,
  ) {
    super(`${request}: Janus answered ${status} (${detail})`);
    this.name = 'JanusRefusal';
  }
}
