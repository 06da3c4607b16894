import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Interceptor } from '@connectrpc/connect';
import { SciStreamError, systemCode } from '../contracts/errors.js';
import { writeAtomically } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { KeyedLock } from '../contracts/wait.js';
import { fingerprintOf } from '../pki/inspect.js';
import { CERTIFICATE } from '../serving/client-certificates.js';
import { S2CS_KEY } from '../wire/errors.js';

/**
 * Lets only one control server command a data server: two would release each other's streams. The first that calls is
 * remembered in the file `s2cs` of the state directory, over TLS with the subject of its certificate; who removes the file
 * lets the next one in, at once.
 * @param pinned Tells the fingerprint of the only certificate that may command, where the operator names it; asked with
 * every call.
 * @throws SCI_FORBIDDEN, from the interceptor
 */
export function enrolment(state: string, log: Logger, pinned: () => string | undefined): Interceptor {
  const file = join(state, 's2cs');
  const lock = new KeyedLock();
  let known = '';
  const admit = async (id: string): Promise<void> => {
    known = await stored(file);
    // What the subject would prove, the fingerprint has proven.
    if (known === id || (pinned() !== undefined && idOf(known) === idOf(id))) return;
    if (known !== '') throw refusal(file);
    await writeAtomically(file, id);
    known = id;
    log.info({ s2cs: id }, 'a control server has taken charge of this gateway');
  };
  return (next) => async (request) => {
    const id = request.header.get(S2CS_KEY) ?? '';
    if (!/^[\w-]{8,64}$/.test(id)) throw refusal(file);
    // Others may know the id, and others may have certificates of the same CA.
    const certificate = request.contextValues.get(CERTIFICATE)?.certificate;
    const only = pinned();
    if (only !== undefined && (!certificate || fingerprintOf(certificate) !== only)) throw unpinned(only);
    const subject = certificate?.subject.replaceAll('\n', ', ');
    const who = subject === undefined ? id : `${id} ${subject}`;
    if (who !== known) await lock.run('', () => admit(who));
    return await next(request);
  };
}

async function stored(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  }
}

const idOf = (who: string): string | undefined => who.split(' ')[0];

const unpinned = (only: string): SciStreamError =>
  new SciStreamError('SCI_FORBIDDEN', `Only the certificate ${only} may command this data server.`, {
    suggestions: ['Where the control server has another one now, on the gateway: set s2cs.fingerprint, then SIGHUP.'],
  });

const refusal = (file: string): SciStreamError =>
  new SciStreamError('SCI_FORBIDDEN', 'Another control server commands this data server.', {
    suggestions: [
      'Give every control server data servers of its own.',
      `If that one is gone for good, on the gateway: rm ${file}`,
    ],
  });
