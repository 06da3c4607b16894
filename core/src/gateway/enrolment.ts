import { join } from 'node:path';
import { createContextKey, type Interceptor } from '@connectrpc/connect';
import { SciStreamError } from '../contracts/errors.js';
import { writeAtomically } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { onState } from '../contracts/system-errors.js';
import { Queue } from '../contracts/wait.js';
import { fingerprintOf } from '../pki/inspect.js';
import { CERTIFICATE } from '../serving/client-certificates.js';
import { S2CS_KEY } from '../wire/errors.js';
import { readIfPresent } from './server-id.js';

/** Called when the peer of a call is the enrolled control server. The HTTP server sets it. */
export const ACCEPTED = createContextKey<() => void>(() => undefined);

/**
 * Accepts calls from one control server only, because two would release each other's streams. The first that calls is
 * enrolled in the file `s2cs` of the state directory, with the subject of its certificate if it uses TLS. Removing the
 * file takes effect immediately: the next control server that calls is enrolled.
 * @param pinned Returns the fingerprint of the only accepted certificate if the operator set one; called for every call.
 * @throws SCI_FORBIDDEN, SCI_STATE_WRITE, from the interceptor
 */
export function enrolment(state: string, log: Logger, pinned: () => string | undefined): Interceptor {
  const file = join(state, 's2cs');
  const queue = new Queue();
  let known = '';
  const admit = async (id: string): Promise<void> => {
    known = (await readIfPresent(file)).trim();
    // A pinned fingerprint proves more than the subject.
    if (known === id || (pinned() !== undefined && idOf(known) === idOf(id))) return;
    if (known !== '') throw refusal(file);
    await onState('write', file, () => writeAtomically(file, id));
    known = id;
    log.info({ s2cs: id }, 'control server enrolled');
  };
  return (next) => async (request) => {
    const id = request.header.get(S2CS_KEY) ?? '';
    if (!/^[\w-]{8,64}$/.test(id)) throw refusal(file);
    // The id is no secret, and the CA may sign the certificates of other control servers.
    const certificate = request.contextValues.get(CERTIFICATE)?.certificate;
    const only = pinned();
    if (only !== undefined && (!certificate || fingerprintOf(certificate) !== only)) throw unpinned(only);
    const subject = certificate?.subject.replaceAll('\n', ', ');
    const who = subject === undefined ? id : `${id} ${subject}`;
    if (who !== known) await queue.run(() => admit(who));
    request.contextValues.get(ACCEPTED)();
    return await next(request);
  };
}

const idOf = (who: string): string | undefined => who.split(' ')[0];

const unpinned = (only: string): SciStreamError =>
  new SciStreamError('SCI_FORBIDDEN', `Only the certificate ${only} may send commands to this gateway.`, {
    suggestions: [
      'If the control server has a new certificate, set s2cs.fingerprint on the gateway and send SIGHUP to s2ds.',
    ],
  });

const refusal = (file: string): SciStreamError =>
  new SciStreamError('SCI_FORBIDDEN', 'Another control server is enrolled on this gateway.', {
    suggestions: [
      'Configure each gateway on one control server only.',
      `If the other control server no longer exists, run on the gateway: rm ${file}`,
    ],
  });
