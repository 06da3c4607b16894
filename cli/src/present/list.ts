import { formatRate } from '@scistream/core/terminal';
import type { StreamList } from '@scistream/core/client';
import { table } from '../output.js';
import { listenersText, untilText } from './text.js';

const HEADINGS = ['NAME', 'UID', 'STATE', 'FROM', 'TO', 'CONNECT TO', 'ENCRYPTION', 'RATE', 'UNTIL'];

/** The human-readable output of `stream ls`. */
export function listText({ streams, unreachable, admin }: StreamList): string {
  const rows = streams.map(({ uid, name, owner, state, from, to, connect, encryption, rate, expiresAt }) => [
    name || '-',
    uid.slice(0, 12),
    state,
    from?.facility ?? '-',
    to?.facility ?? '-',
    listenersText(connect),
    encryption,
    rate.bitsPerSecond > 0 ? formatRate(rate.bitsPerSecond) : '-',
    untilText(expiresAt),
    ...(admin ? [owner || '-'] : []),
  ]);
  const shown = rows.length > 0 ? table([...HEADINGS, ...(admin ? ['OWNER'] : [])], rows) : 'No streams.';
  const silent = unreachable.map(({ error }) => {
    const what = error.code === 'SCI_NOT_OFFERED' ? 'Not offered' : 'Not listed';
    return `${what}: ${error.message} [${error.code}]`;
  });
  return [shown, ...silent].join('\n');
}
