import { messageOf, quote, S2DSException } from '@scistream/core';

/** The controller does not answer, or does not accept this client. */
export function unreachable(url: string, why: string, suggestion: string, cause?: unknown): S2DSException {
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', `Janus at ${url} cannot be used: ${why}.`, {
    cause,
    suggestions: [suggestion],
  });
}

/** The controller answered, and the operation failed. */
export function failed(what: string, suggestion: string, cause?: unknown): S2DSException {
  const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
  return new S2DSException('SCI_RUNTIME_FAILED', `${what}${why}.`, { cause, suggestions: [suggestion] });
}

/** No node can run the image. */
export function imageNotFound(image: string, why: string): S2DSException {
  return new S2DSException('SCI_IMAGE_NOT_FOUND', `Janus cannot run the image ${quote(image)}: ${why}.`, {
    suggestions: [
      `Register it with Janus and pull it on the nodes. GET /images must list ${quote(image.split(':')[0])}.`,
    ],
  });
}

/** The name of an instance is in use. */
export const conflict = (name: string): S2DSException =>
  new S2DSException('SCI_CONTAINER_CONFLICT', `A session or profile ${name} already exists in Janus.`, {
    suggestions: ['Release its stream, or restart the daemon, which removes sessions without a stream.'],
  });

/** An error answer of Janus. */
export class JanusRefusal extends Error {
  /**
   * @param status HTTP status, 400 to 599.
   * @param detail Text of the answer, shortened, on one line.
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
